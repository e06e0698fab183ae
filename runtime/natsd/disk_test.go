package natsd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// guarded starts an embedded server whose streams are on a small disk.
func guarded(t *testing.T, cfg natsd.Config, diskBytes int) (n *natsd.NATS, disk string) {
	t.Helper()
	disk = testserver.SmallDisk(t, diskBytes)
	dir := t.TempDir()
	if err := os.Symlink(disk, filepath.Join(dir, "nats")); err != nil {
		t.Fatal(err)
	}
	return guardedOn(t, dir, cfg), disk
}

func guardedOn(t *testing.T, dir string, cfg natsd.Config) *natsd.NATS {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { testserver.NoLeaks(t, ignore) })
	cfg.Dir = dir
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	n, err := natsd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		closeNATS(t, n)
	})
	return n
}

// writer publishes numbered messages one by one, each behind the one before.
type writer struct {
	js    jetstream.JetStream
	acked uint64
}

func newWriter(t *testing.T, n *natsd.NATS) *writer {
	t.Helper()
	w := &writer{}
	w.connect(t, n)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Discard: jetstream.DiscardNew}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *writer) connect(t *testing.T, n *natsd.NATS) {
	t.Helper()
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if w.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
}

// silence is how long no answer is a silence, and no busy machine.
const silence = 5 * time.Second

func (w *writer) publish(ctx context.Context) error {
	body := make([]byte, 8192)
	binary.BigEndian.PutUint64(body, w.acked+1)
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	_, err := w.js.PublishMsg(ctx, &nats.Msg{Subject: "s", Data: body,
		Header: nats.Header{"Nats-Expected-Last-Sequence": {strconv.FormatUint(w.acked, 10)}}}, jetstream.WithRetryAttempts(0))
	if err == nil {
		w.acked++
		return nil
	}
	var api *jetstream.APIError // the answer to one that was stored may be lost
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		st, serr := w.js.Stream(ctx, "S")
		if serr == nil && st.CachedInfo().State.LastSeq == w.acked+1 {
			w.acked++
			return nil
		}
	}
	return err
}

// until publishes until what it gets pleases, and says how long that took.
func (w *writer) until(t *testing.T, what string, within time.Duration, ok func(error) bool) time.Duration {
	t.Helper()
	begin := time.Now()
	var err error
	for time.Since(begin) < within {
		if err = w.publish(t.Context()); ok(err) {
			return time.Since(begin)
		}
		if err != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	t.Fatalf("not %s within %v, last: %v", what, within, err)
	return 0
}

func (w *writer) check(t *testing.T) {
	t.Helper()
	st, err := w.js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if s := st.CachedInfo().State; s.LastSeq != w.acked || s.Msgs != w.acked {
		t.Fatalf("%d acknowledged, the stream has %d up to %d", w.acked, s.Msgs, s.LastSeq)
	}
	for seq := uint64(1); seq <= w.acked; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil || binary.BigEndian.Uint64(m.Data) != seq {
			t.Fatalf("message %d: %v", seq, err)
		}
	}
}

// refused is JetStream's answer that the account has no room; no answer is not.
func refused(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == 10002
}

func stored(err error) bool { return err == nil }

// The store never fills the disk: it stops short of it, follows what others
// take and give back, and says so.
func TestStoreFollowsTheDisk(t *testing.T) {
	n, disk := guarded(t, natsd.Config{}, 48<<20)
	w := newWriter(t, n)
	free := testserver.FillDisk(t, disk, 20<<20)
	waitHealth(t, n, func(h natsd.Health) bool { return h.StoreBytesMax < 20<<20 })
	w.until(t, "refused", time.Minute, refused)
	waitHealth(t, n, func(h natsd.Health) bool { return h.Reason != "" && h.DiskFreeBytes > 4<<20 && h.StoreBytes > 12<<20 })
	first := w.acked
	free()
	resumed := w.until(t, "resumed", time.Minute, stored)
	waitHealth(t, n, func(h natsd.Health) bool { return h.Reason == "" })
	free = testserver.FillDisk(t, disk, 1<<20) // less than the reserve, and not nothing
	waitHealth(t, n, func(h natsd.Health) bool { return h.Reason != "" && h.StoreBytesMax < h.StoreBytes })
	if err := w.publish(t.Context()); !refused(err) {
		t.Errorf("with a full disk: %v", err)
	}
	free()
	w.until(t, "resumed", time.Minute, stored)
	if h := n.Health(); h.Restarts != 0 {
		t.Errorf("restarted %d times: %+v", h.Restarts, h)
	}
	w.check(t)
	t.Logf("%d messages fitted; resumed %v after there was room", first, resumed)
}

func waitHealth(t *testing.T, n *natsd.NATS, ok func(natsd.Health) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(n.Health()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("health stays %+v", n.Health())
		}
	}
}

// A disk that others fill up at once wedges the stream: JetStream gives no
// answer and would not, also with room. The guard notices, publishers are told,
// and with room the server starts again and nothing is lost.
func TestWedgedByAFullDisk(t *testing.T) {
	t.Run("interval", func(t *testing.T) { wedged(t, natsd.Config{}) })
	t.Run("fsync", func(t *testing.T) { wedged(t, natsd.Config{Fsync: true}) })
}

func wedged(t *testing.T, cfg natsd.Config) {
	n, disk := guarded(t, cfg, 48<<20)
	w := newWriter(t, n)
	for range 200 {
		w.until(t, "stored", time.Minute, stored)
	}
	free := testserver.FillDisk(t, disk, 0)
	var silent bool
	told := w.until(t, "told", time.Minute, func(err error) bool {
		silent = silent || errors.Is(err, context.DeadlineExceeded)
		return refused(err)
	})
	if err := w.publish(t.Context()); !refused(err) {
		t.Errorf("while full: %v", err)
	}
	if h := n.Health(); h.Reason == "" || h.Restarts != 0 {
		t.Errorf("while full: %+v", h)
	}
	free()
	resumed := w.until(t, "resumed", time.Minute, stored)
	for range 50 {
		w.until(t, "stored", time.Minute, stored)
	}
	w.check(t)
	t.Logf("wedged: %v; told after %v, resumed %v after there was room, restarts %d", silent, told, resumed, n.Health().Restarts)
	if silent && n.Health().Restarts == 0 {
		t.Error("it got over a wedge without a restart: then the guard is not needed")
	}
}

// A daemon that starts on a disk without any room runs, refuses, and says why.
func TestStartsOnAFullDisk(t *testing.T) {
	disk := testserver.SmallDisk(t, 48<<20)
	dir := t.TempDir()
	if err := os.Symlink(disk, filepath.Join(dir, "nats")); err != nil {
		t.Fatal(err)
	}
	n, err := natsd.Start(t.Context(), natsd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(t, n)
	for range 100 {
		w.until(t, "stored", time.Minute, stored)
	}
	closeNATS(t, n)
	free := testserver.FillDisk(t, disk, 0)
	n = guardedOn(t, dir, natsd.Config{})
	w.connect(t, n)
	w.until(t, "refused", time.Minute, refused)
	if h := n.Health(); h.Reason == "" {
		t.Errorf("says nothing: %+v", h)
	}
	free()
	w.until(t, "resumed", time.Minute, stored)
	w.check(t)
}
