package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
)

// A kept module is megabytes, and connectors ask for values with each row: a
// table's block that has the one must not be read for the other.
func TestModulesAreOutOfTheWay(t *testing.T) {
	dir := t.TempDir()
	code := make([]byte, 4<<20)
	_, _ = rand.Read(code) // never fails
	sum := sha256.Sum256(code)
	digest := hex.EncodeToString(sum[:])
	look := func(do func(*Pipeline)) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Pipeline("shop")
		if err != nil {
			t.Fatal(err)
		}
		do(p)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	look(func(p *Pipeline) {
		err := p.RecordSteps(Steps{Fingerprint: "f", Digests: []string{digest}, Config: []byte(`{}`), Module: func(string) ([]byte, error) { return code, nil }})
		if err != nil {
			t.Fatal(err)
		}
	})
	look(func(p *Pipeline) { // opened anew: the module is in a table
		if got, ok, err := p.Module(digest); err != nil || !ok || len(got) != len(code) {
			t.Fatalf("%d bytes, %v, %v", len(got), ok, err)
		}
		fastest := time.Hour // of some rounds: what else the machine does slows down a few, reading blocks all
		for range 10 {
			begin := time.Now()
			for i := range 500 {
				if _, ok, err := p.Values("step").Get(fmt.Append(nil, i)); ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			fastest = min(fastest, time.Since(begin))
		}
		if fastest > 300*time.Millisecond {
			t.Errorf("500 values that are not there took %v", fastest)
		}
	})
}

// What a transaction is finished with: the modules of the steps that were
// recorded last, and no others.
func TestModulesOfTheSteps(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p, other := pipelineT(t, s, "shop"), pipelineT(t, s, "shop2")
	code := map[string][]byte{"a": bytes.Repeat([]byte("a"), 5<<20), "b": []byte("b"), "c": []byte("c")}
	steps := func(config string, digests ...string) Steps {
		return Steps{Fingerprint: config, Digests: digests, Config: []byte(config), Module: func(digest string) ([]byte, error) {
			if code[digest] == nil {
				return nil, os.ErrNotExist
			}
			return code[digest], nil
		}}
	}
	kept := func(p *Pipeline) (digests string) {
		t.Helper()
		for _, digest := range []string{"a", "b", "c"} {
			got, ok, err := p.Module(digest)
			if err != nil || ok && !bytes.Equal(got, code[digest]) {
				t.Fatal(err)
			}
			if ok {
				digests += digest
			}
		}
		return digests
	}
	if err := errors.Join(other.RecordSteps(steps(`{}`, "c")), p.RecordSteps(steps(`{"n":1}`, "a", "b"))); err != nil {
		t.Fatal(err)
	}
	if err := p.RecordSteps(steps(`{"n":2}`, "b", "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openT(t, dir, Options{})
	p, other = pipelineT(t, s, "shop"), pipelineT(t, s, "shop2")
	st, ok, err := p.LoadSteps()
	if got := kept(p); got != "ab" || !ok || err != nil || string(st.Config) != `{"n":1}` {
		t.Fatalf("%q, %+v, %v", got, st, err)
	}
	for _, next := range []struct {
		steps Steps
		want  string
	}{{steps(`{"n":3}`, "b", "c"), "bc"}, {Steps{Fingerprint: "x", Digests: []string{"b"}}, ""}} {
		if err := p.RecordSteps(next.steps); err != nil {
			t.Fatal(err)
		}
		if got := kept(p); got != next.want {
			t.Errorf("%q is kept, not %q", got, next.want)
		}
	}
	if got := kept(other); got != "c" {
		t.Errorf("another pipeline has %q", got)
	}
}
