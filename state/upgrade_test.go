package state

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cdcd-io/cdcd/sdk"
)

// A directory of an earlier layout is upgraded, keeps all that is in it, and is then
// refused by who knows the earlier one alone.
func TestUpgrade(t *testing.T) {
	shop := PipelineSurvey{Pipeline: "shop", Schemas: 4, DeadLetters: 40, Gaps: 4, Values: 7, ValueBytes: 7 * (200 + 4), Undo: 40,
		Checkpoint: &Checkpoint{Position: "p", Token: "t", Number: 39, Schemas: 4}}
	for layout, want := range map[string][]PipelineSurvey{
		"1": {shop},
		"2": {{Pipeline: "big", DeadLetters: 1, Undo: 3}, shop},
	} {
		from := filepath.Join("testdata", "layout"+layout)
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			s := openT(t, dir, Options{})
			v, err := s.Survey()
			if err != nil || len(v.Damage) > 0 || v.Layout != formatVersion {
				t.Fatalf("layout %s: %+v %v", layout, v, err)
			}
			if d := cmp.Diff(want, v.Pipelines, cmpopts.IgnoreUnexported(PipelineSurvey{})); d != "" {
				t.Fatalf("layout %s: %s", layout, d)
			}
			n := 0
			if err := pipelineT(t, s, "shop").EachDeadLetter(func(d DeadLetter) error {
				if n++; d.Reason != "bad" || d.Batch.Row(0).After().Int(0) != 5 || d.Table != "shop.orders" {
					t.Errorf("layout %s: %+v", layout, d)
				}
				return nil
			}); err != nil || n != 40 {
				t.Fatalf("layout %s: %d dead letters, %v", layout, n, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(dir, sealName)); err != nil {
				t.Fatal("not sealed:", err)
			}
		}
		s, err := OpenReadOnly(from, Options{}) // looking doesn't upgrade
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Survey(); err != nil || v.Layout != layout {
			t.Fatal(v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What layout 2 had of a large dead letter, in one value, is read, marked, given back
// by a roll-back and purged.
func TestLettersOfLayout2(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/layout2")); err != nil {
		t.Fatal(err)
	}
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "big")
	note := strings.Repeat("large ", 12_000)
	kept, replayed := DeadLetterKey{"kept", "uuid:7", 1}, DeadLetterKey{"replayed", "uuid:7", 1}
	whole := func(k DeadLetterKey) DeadLetter {
		t.Helper()
		d, ok, err := p.DeadLetter(k)
		if err != nil || !ok || string(d.Batch.Row(0).After().Bytes(1)) != note || d.Table != "shop.orders" || d.LogPos != "binlog.1:0" || d.Bytes < len(note) {
			t.Fatalf("%s: %v %v %d bytes of %s at %s", k, ok, err, d.Bytes, d.Table, d.LogPos)
		}
		if v, err := s.Survey(); err != nil || len(v.Damage) > 0 {
			t.Fatal(v, err)
		}
		return d
	}
	if keys := keysBehind(t, p, DeadLetterKey{}); len(keys) != 1 {
		t.Fatal(keys)
	}
	d := whole(kept)
	all := func(sdk.Position) (bool, error) { return true, nil }
	if _, err := p.RollBack(Cut{Base: "p"}, all); err != nil { // all of the log is delivered, and not the replay
		t.Fatal(err)
	}
	whole(replayed)

	var c Changes
	c.Passed(d.Keys(), false, "uuid:8", 0, 0)
	if err := p.Persist(&c); err != nil {
		t.Fatal(err)
	}
	if d := whole(kept); d.ChangedBy != "uuid:8#0" {
		t.Fatalf("changed by %q", d.ChangedBy)
	}
	v, _, err := s.get(deadLetterKey("big", kept))
	if err != nil || len(v) > 1000 || bytes.Contains(v, []byte("large")) {
		t.Fatalf("a record of %d bytes, %v", len(v), err)
	}
	if n, err := p.DeleteDeadLetters([]DeadLetterKey{kept, replayed}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n := piecesOf(t, p); n != 0 {
		t.Fatalf("%d pieces are left", n)
	}
}
