package remote_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

// commit makes the n-th state of a pipeline that keeps nothing.
func commit(t *testing.T, s *state.Store, name string, n int) {
	t.Helper()
	p, err := s.Pipeline(name)
	if err == nil {
		err = p.Commit(state.Checkpoint{Position: sdk.Position(fmt.Sprint("pos-", n))})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// where returns where a pipeline of a restored directory stands; empty for nowhere.
func where(t *testing.T, dir, name string) string {
	t.Helper()
	all, err := state.Checkpoints(dir, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := all[name]; ok && !c.Restored {
		t.Errorf("%s is not marked as restored", name)
	}
	return string(all[name].Position)
}

// lost is a bucket with copies 1 to 3 of shop and other, and a store that has other
// alone, of which copies 4 to 9 are made, each by a new start.
func lost(t *testing.T, b *memory) {
	t.Helper()
	good := open(t, t.TempDir())
	r := remote.New(remote.Config{Store: good, Bucket: b, Every: time.Hour, Keep: 3, Needs: []string{"shop"}})
	for n := range 3 {
		write(t, good, n+1)
		commit(t, good, "other", n+1)
		runOnce(r)
	}
	s := open(t, t.TempDir())
	for n := 4; n < 10; n++ {
		r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour, Keep: 3, Needs: []string{"shop"}})
		commit(t, s, "other", n)
		runOnce(r)
		if st := r.Status(); st.Code != remote.CodeIncomplete || st.Hint == "" || st.Failures != 0 || st.Checkpoints != 1 ||
			!slices.Equal(st.Lacks, []string{"shop"}) || !strings.Contains(st.Reason, "shop") || st.Since.IsZero() {
			t.Fatalf("%+v", st)
		}
	}
}

// A pipeline that the state lacks does not hold up the copies of the others, and the
// copies that have it stay, however many are made. A restore has both.
func TestCopiesWithoutAPipeline(t *testing.T) {
	b := newMemory()
	lost(t, b)
	if n := len(b.keys("manifest")); n != 6 {
		t.Errorf("%d copies: %v", n, b.keys("manifest"))
	}
	dir := t.TempDir()
	got, err := remote.Restore(context.Background(), b, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Taken) != 1 || !strings.HasSuffix(got.Taken["shop"], "3") || len(got.Pipelines) != 2 || len(got.Skipped) != 0 {
		t.Errorf("%+v", got)
	}
	if at := where(t, dir, "other"); at != "pos-9" {
		t.Errorf("other is at %q", at)
	}
	if at := read(t, dir); at != "pos-3" { // with its value
		t.Errorf("shop is at %q", at)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "graft*")); len(left) > 0 || err != nil {
		t.Error("it leaves", left, err)
	}

	// The restored state is whole: its copies are, and the spared ones go.
	s := open(t, dir)
	r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour, Keep: 3, Needs: []string{"shop"}})
	for n := range 3 {
		commit(t, s, "other", 10+n)
		runOnce(r)
	}
	if st := r.Status(); st.Code != "" || st.Lacks != nil || len(b.keys("manifest")) != 3 {
		t.Errorf("%+v, %v", st, b.keys("manifest"))
	}
}

// Damage to the copy that a pipeline would be taken from is skipped like any other;
// a bucket that does not answer meanwhile leaves a directory that is refused, and the
// next try begins anew.
func TestTakingAPipelineFromADamagedCopy(t *testing.T) {
	b := newMemory()
	lost(t, b)
	has := b.keys("manifest")[:3]
	b.objects[has[2]][20] ^= 1
	dir := t.TempDir()
	calls := 0
	b.fail = func(op, key string) error {
		if op == "get" && strings.HasPrefix(key, has[1][:16]) {
			if calls++; calls == 3 {
				return fault.New(fault.Retryable, remote.CodeUnreachable, "memory", "", "no answer")
			}
		}
		return nil
	}
	if _, err := remote.Restore(context.Background(), b, dir); err == nil {
		t.Fatal("no error")
	}
	if _, err := state.Open(dir, state.Options{}); !fault.HasCode(err, state.CodeRestoreUnfinished) {
		t.Fatal(err)
	}
	b.fail = nil
	got, err := remote.Restore(context.Background(), b, dir)
	if err != nil || len(got.Skipped) != 1 || where(t, dir, "other") != "pos-9" || read(t, dir) != "pos-2" {
		t.Fatalf("%+v %v", got, err)
	}

	for _, key := range has { // files of the others, and what says what is in this one
		b.objects[key][20] ^= 1
	}
	b.objects[has[2]][20] ^= 1
	dir = t.TempDir()
	_, err = remote.Restore(context.Background(), b, dir)
	if f := fault.Of(err); f.Code != remote.CodeDamaged || !strings.Contains(err.Error(), "shop") || !strings.Contains(f.Hint, "remove "+has[2]) {
		t.Fatal(err)
	}
	if _, err := state.Open(dir, state.Options{}); !fault.HasCode(err, state.CodeRestoreUnfinished) {
		t.Error(err)
	}
	for _, key := range has { // none has it any more
		delete(b.objects, key)
	}
	dir = t.TempDir()
	got, err = remote.Restore(context.Background(), b, dir)
	if err != nil || len(got.Taken) != 0 || where(t, dir, "other") != "pos-9" || where(t, dir, "shop") != "" {
		t.Fatalf("%+v %v", got, err)
	}
}
