package remote_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

func TestRestoreGivesTheNewestState(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	st := copies(t, s, b, 1, 2, 3, 4, 5)
	if st.Checkpoints != 5 || st.Code != "" || st.Checkpoint != "0000000000000001/0000000000000005" {
		t.Fatalf("status: %+v", st)
	}
	if n := len(b.keys(".manifest")); n != 3 {
		t.Errorf("%d checkpoints are kept, want 3", n)
	}
	dir := t.TempDir()
	got, err := remote.Restore(t.Context(), b, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Skipped) > 0 || !slices.Equal(got.Pipelines, []string{"shop"}) || got.ID() != st.Checkpoint {
		t.Errorf("restored %+v", got)
	}
	if at := read(t, dir); at != "pos-5" {
		t.Errorf("restored %s", at)
	}
	if _, err := remote.Restore(t.Context(), b, dir); code(err) != remote.CodeOccupied {
		t.Errorf("restoring over a state: %v", err)
	}
}

// Every object, flipped or cut or gone: the checkpoint before is restored, and
// nothing damaged ever is.
func TestDamageFallsBack(t *testing.T) {
	b := newMemory()
	copies(t, open(t, t.TempDir()), b, 1)
	copies(t, open(t, t.TempDir()), b, 2) // shares no object with the first
	damages := map[string]func(p []byte) []byte{
		"flipped": func(p []byte) []byte { q := bytes.Clone(p); q[len(q)/2] ^= 4; return q },
		"cut":     func(p []byte) []byte { return p[:len(p)/2] },
		"longer":  func(p []byte) []byte { return append(bytes.Clone(p), 'x') },
		"gone":    func([]byte) []byte { return nil },
	}
	for _, key := range b.keys("0000000000000002/") {
		for name, damage := range damages {
			good := b.objects[key]
			if len(good) == 0 { // not needed: TestTheEmptyObjectIsNotNeeded
				continue
			}
			if b.objects[key] = damage(good); b.objects[key] == nil {
				delete(b.objects, key)
			}
			dir := t.TempDir()
			got, err := remote.Restore(t.Context(), b, dir)
			if err != nil {
				t.Fatalf("%s %s: %v", key, name, err)
			}
			manifestGone := name == "gone" && strings.HasSuffix(key, ".manifest")
			if len(got.Skipped) != 1 && !manifestGone {
				t.Errorf("%s %s: skipped %v", key, name, got.Skipped)
			}
			if at := read(t, dir); at != "pos-1" {
				t.Errorf("%s %s: restored %s", key, name, at)
			}
			if found, err := remote.List(t.Context(), b, true); err != nil || !manifestGone && (found[0].Err == nil || found[1].Err != nil) {
				t.Errorf("%s %s: verify says %+v, %v", key, name, found, err)
			}
			b.objects[key] = good
		}
	}
	for _, key := range b.keys(".manifest") {
		b.objects[key] = nil
	}
	if _, err := remote.Restore(t.Context(), b, t.TempDir()); code(err) != remote.CodeDamaged {
		t.Errorf("all are damaged: %v", err)
	}
	if _, err := remote.Restore(t.Context(), newMemory(), t.TempDir()); code(err) != remote.CodeEmpty {
		t.Errorf("there is none: %v", err)
	}
}

// A bucket that does not answer is no reason to take an older checkpoint.
func TestUnreachableIsNotDamaged(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	copies(t, s, b, 1, 2)
	gets := 0
	b.fail = func(op, _ string) error {
		if op == "get" {
			if gets++; gets > 2 {
				return fault.New(fault.Retryable, remote.CodeUnreachable, "", "", "cut")
			}
		}
		return nil
	}
	dir := t.TempDir()
	if _, err := remote.Restore(t.Context(), b, dir); code(err) != remote.CodeUnreachable {
		t.Fatalf("restore: %v", err)
	}
	if _, err := state.Open(dir, state.Options{}); code(err) != state.CodeRestoreUnfinished {
		t.Errorf("a directory that was restored in part opens: %v", err)
	}
	b.fail = nil
	if _, err := remote.Restore(t.Context(), b, dir); err != nil {
		t.Fatal(err)
	}
	if at := read(t, dir); at != "pos-2" {
		t.Errorf("restored %s", at)
	}
}
