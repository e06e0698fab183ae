package remote_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/state/remote"
)

// What the kept checkpoints don't need goes; what they need stays.
func TestPruningKeepsWhatIsNeeded(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	copies(t, s, b, 1, 2, 3, 4, 5, 6, 7)
	copies(t, s, b, 8) // another run: an epoch of its own
	found, err := remote.List(t.Context(), b, true)
	if err != nil || len(found) != 3 {
		t.Fatalf("%d checkpoints, %v", len(found), err)
	}
	needed := map[string]bool{}
	for _, f := range found {
		if f.Err != nil {
			t.Errorf("%s: %v", f.Checkpoint, f.Err)
		}
		for _, file := range f.Manifest.Files {
			needed[f.Checkpoint[:16]+"/files/"+file.SHA256] = true
		}
	}
	for _, key := range b.keys("/files/") {
		if !needed[key] {
			t.Errorf("%s is needed by none", key)
		}
	}
	copies(t, s, b, 9, 10, 11)
	if old := b.keys("0000000000000001/"); len(old) > 0 {
		t.Errorf("of the first run there is still %v", old)
	}
}

// Files that never change are brought once.
func TestOnlyWhatIsNewIsUploaded(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour})
	write(t, s, 1)
	runOnce(r)
	first := len(b.puts)
	runOnce(r)
	if len(b.puts) != first {
		t.Errorf("a state that did not change was copied again: %v", b.puts[first:])
	}
	write(t, s, 2)
	runOnce(r)
	for _, key := range b.puts[first:] {
		if slices.Contains(b.puts[:first], key) {
			t.Errorf("%s was uploaded twice", key)
		}
	}
}

// Each single call of the bucket fails once: a checkpoint is there as a whole or
// not at all, and the next copy mends everything.
func TestEveryCallFailsOnce(t *testing.T) {
	for at := 0; ; at++ {
		b, calls, failed := newMemory(), 0, false
		s := open(t, t.TempDir())
		copies(t, s, b, 1, 2, 3)
		r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour})
		b.fail = func(op, key string) error {
			if calls++; calls == at+1 {
				failed = true
				return fault.New(fault.Retryable, remote.CodeUnreachable, key, "", "%s fails", op)
			}
			return nil
		}
		write(t, s, 4)
		runOnce(r)
		if failed != (r.Status().Code != "") {
			t.Fatalf("call %d failed: %v; status %+v", at, failed, r.Status())
		}
		if !failed {
			if at < 5 {
				t.Fatalf("a copy takes %d calls only", at)
			}
			return
		}
		dir := t.TempDir()
		if got, err := remote.Restore(t.Context(), b, dir); err != nil || len(got.Skipped) > 0 {
			t.Fatalf("call %d: %+v, %v", at, got, err)
		}
		if got := read(t, dir); got != "pos-3" && got != "pos-4" {
			t.Errorf("call %d: restored %s", at, got)
		}
		runOnce(r)
		if st := r.Status(); st.Code != "" || st.Failures != 1 {
			t.Errorf("call %d: after a second try: %+v", at, st)
		}
		dir = t.TempDir()
		if _, err := remote.Restore(t.Context(), b, dir); err != nil || read(t, dir) != "pos-4" {
			t.Errorf("call %d: after a second try: %v", at, err)
		}
	}
}

// Two that replicate to the same place: the later one has it, the other says so.
func TestTwoReplicatorsAreToldApart(t *testing.T) {
	b := newMemory()
	s1, s2 := open(t, t.TempDir()), open(t, t.TempDir())
	r1 := remote.New(remote.Config{Store: s1, Bucket: b, Every: time.Hour})
	r2 := remote.New(remote.Config{Store: s2, Bucket: b, Every: time.Hour})
	write(t, s1, 1)
	runOnce(r1)
	write(t, s2, 2)
	runOnce(r2)
	write(t, s1, 3)
	runOnce(r1)
	if st := r1.Status(); st.Code != remote.CodeFenced || st.Checkpoints != 1 {
		t.Errorf("the first: %+v", st)
	}
	if st := r2.Status(); st.Code != "" || st.Checkpoints != 1 {
		t.Errorf("the second: %+v", st)
	}
	dir := t.TempDir()
	if _, err := remote.Restore(t.Context(), b, dir); err != nil || read(t, dir) != "pos-2" {
		t.Errorf("restore: %v", err)
	}
}

// The answer to a manifest's write is lost: it is there, and ours.
func TestLostAnswer(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	copies(t, s, b, 1)
	r := remote.New(remote.Config{Store: s, Bucket: &deaf{b}, Every: time.Hour})
	write(t, s, 2)
	runOnce(r)
	if st := r.Status(); st.Code != "" || st.Checkpoints != 1 {
		t.Errorf("%+v", st)
	}
}

// A bucket that never answers holds up neither the local state nor the end.
func TestABucketThatHangs(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	hang := &hanging{memory: b, entered: make(chan struct{}, 1)}
	r := remote.New(remote.Config{Store: s, Bucket: hang, Every: time.Millisecond})
	write(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r.SetEnd(100 * time.Millisecond)
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	<-hang.entered
	for n := range 50 { // the local state goes on meanwhile
		write(t, s, n)
	}
	begun := time.Now()
	cancel()
	<-done
	if took := time.Since(begun); took > 9*time.Second { // of ten without SetEnd
		t.Errorf("the end took %v", took)
	}
	if st := r.Status(); st.Code != remote.CodeUnreachable || st.Reason == "" || st.Hint == "" {
		t.Errorf("status: %+v", st)
	}
}

// A copy that is asked for is made before its time.
func TestSoon(t *testing.T) {
	b := newMemory()
	s := open(t, t.TempDir())
	write(t, s, 1)
	r := remote.New(remote.Config{Store: s, Bucket: b, Every: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	until := func(n uint64) {
		t.Helper()
		for end := time.Now().Add(time.Minute); r.Status().Checkpoints < n; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%+v", r.Status())
			}
		}
	}
	until(1)
	write(t, s, 2)
	r.Soon()
	r.Soon()
	until(2)
	cancel()
	<-ended
}

// Many files are empty, and the object that is all of them is not needed.
func TestTheEmptyObjectIsNotNeeded(t *testing.T) {
	b := newMemory()
	copies(t, open(t, t.TempDir()), b, 1, 2)
	empty := b.keys("files/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
	if len(empty) != 1 {
		t.Fatal(empty)
	}
	if err := b.Delete(t.Context(), empty[0]); err != nil {
		t.Fatal(err)
	}
	all, err := remote.List(t.Context(), b, true)
	if err != nil || len(all) != 2 || all[0].Err != nil {
		t.Errorf("%+v, %v", all, err)
	}
	dir := t.TempDir()
	if got, err := remote.Restore(t.Context(), b, dir); err != nil || len(got.Skipped) > 0 || read(t, dir) != "pos-2" {
		t.Error(got, err)
	}
}
