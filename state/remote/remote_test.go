package remote_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a store in a new directory, which ends with the test.
func open(t *testing.T, dir string) *state.Store {
	t.Helper()
	s, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write makes the n-th state of a pipeline: a checkpoint and a value.
func write(t *testing.T, s *state.Store, n int) {
	t.Helper()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	var c state.Changes
	at := fmt.Sprintf("pos-%d", n)
	c.Put("count", []byte("n"), []byte(at), state.Origin{Tx: at, Messages: uint64(n)})
	c.End(sdk.Position(at), true, false)
	if err := p.Persist(&c); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(state.Checkpoint{Position: sdk.Position(at), Exact: true, Token: at, Messages: uint64(n)}); err != nil {
		t.Fatal(err)
	}
}

// read returns which state a directory has, and whether it is marked as restored.
func read(t *testing.T, dir string) string {
	t.Helper()
	s, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	c, ok, err := p.Load()
	if err != nil || !ok {
		t.Fatalf("checkpoint: %v, %v", ok, err)
	}
	v, _, err := p.Values("count").Get([]byte("n"))
	if err != nil || string(v) != string(c.Position) {
		t.Fatalf("the value is %q, the checkpoint at %s: %v", v, c.Position, err)
	}
	if !c.Restored {
		t.Error("the checkpoint is not marked as restored")
	}
	return string(c.Position)
}

// copies runs a Replicator once for each of the states, so that the bucket gets a
// checkpoint of each, and returns the last status.
func copies(t *testing.T, s *state.Store, b remote.Bucket, states ...int) remote.Status {
	t.Helper()
	r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour, Keep: 3})
	for _, n := range states {
		write(t, s, n)
		runOnce(r)
	}
	return r.Status()
}

// runOnce makes a Replicator copy what is new.
func runOnce(r *remote.Replicator) { r.Once(context.Background()) }

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}
