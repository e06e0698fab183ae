package jetstream_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
)

// alarms looks the stream over and returns the codes of what is wrong.
func alarms(t *testing.T, s *stream.Sink) []string {
	t.Helper()
	h, err := s.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{}
	for _, f := range h.Alarms {
		if f.Hint == "" || f.Path != streamName || f.Err == nil {
			t.Errorf("says too little: %+v", f)
		}
		codes = append(codes, f.Code)
	}
	return codes
}

func wantAlarms(t *testing.T, s *stream.Sink, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), alarms(t, s)); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
}

// publishes does a few groups more with a sink that is claimed.
func publishes(t *testing.T, s *stream.Sink, c *sinktest.Cursor) error {
	t.Helper()
	if err := s.Publish(t.Context(), c.Next(20, false)); err != nil {
		return err
	}
	_, err := s.Wait(t.Context())
	return err
}

// claimed claims the sink, and gives what is to be published next of the feed.
func claimed(t *testing.T, s *stream.Sink, f *sinktest.Feed, hint sink.Hint) *sinktest.Cursor {
	t.Helper()
	a, err := s.Claim(t.Context(), hint, initial(f))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.From(a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAuditOfAGoodStream(t *testing.T) {
	nc := connect(t, testserver.NATS(t))
	s := open(t, nc, config())
	if h, err := s.Audit(t.Context()); err != nil || h.Name != "" {
		t.Errorf("before there is a stream: %+v, %v", h, err)
	}
	c := claimed(t, s, feed(), sink.Hint{})
	for range 3 {
		if err := publishes(t, s, c); err != nil {
			t.Fatal(err)
		}
		wantAlarms(t, s)
	}
	if h, err := s.Audit(t.Context()); err != nil || h.Messages < 61 || h.Bytes == 0 || h.Replicas != 1 || h.Current != 1 || h.Full != nil {
		t.Errorf("%+v, %v", h, err)
	}
}

// A deletion in the middle is noticed by looking, and what follows is refused,
// as a new claim would be; accepted, it is neither.
func TestAuditFindsInteriorDeletion(t *testing.T) {
	nc, st, hint := deletable(t)
	s := open(t, nc, config())
	c := claimed(t, s, feed(), hint)
	wantAlarms(t, s)
	if err := st.DeleteMsg(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := publishes(t, s, c); err != nil {
		t.Fatalf("before it is noticed: %v", err)
	}
	wantAlarms(t, s, sink.CodeStreamGaps)
	wantFault(t, publishes(t, s, c), sink.CodeStreamGaps, fault.Environment)
	cfg := config()
	cfg.GapsAccepted = 1
	s = open(t, nc, cfg)
	c = claimed(t, s, feed(), sink.Hint{})
	wantAlarms(t, s)
	if err := publishes(t, s, c); err != nil {
		t.Errorf("with the gap accepted: %v", err)
	}
}

func TestAuditFindsPurge(t *testing.T) {
	nc, st, hint := deletable(t)
	s := open(t, nc, config())
	c := claimed(t, s, feed(), hint)
	wantAlarms(t, s)
	if err := st.Purge(t.Context(), jetstream.WithPurgeSequence(10)); err != nil {
		t.Fatal(err)
	}
	wantAlarms(t, s, sink.CodeStreamPurged)
	if err := publishes(t, s, c); err != nil {
		t.Errorf("a purge is no reason to stop: %v", err)
	}
	wantAlarms(t, s, sink.CodeStreamPurged)
}

// What goes by max_age is not a purge.
func TestAuditLetsMessagesExpire(t *testing.T) {
	nc, st, hint := deletable(t)
	cfg := st.CachedInfo().Config
	cfg.MaxAge, cfg.Duplicates = 2*time.Second, time.Second
	j, _ := manage(t, nc)
	s := open(t, nc, config())
	claimed(t, s, feed(), hint)
	if _, err := j.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	wantAlarms(t, s)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		info, err := st.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing expires")
		}
	}
	wantAlarms(t, s)
}

func TestAuditFindsAnotherStream(t *testing.T) {
	nc, st, hint := deletable(t)
	s := open(t, nc, config())
	c := claimed(t, s, feed(), hint)
	wantAlarms(t, s)
	j, _ := manage(t, nc)
	if err := j.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	wantAlarms(t, s, sink.CodeStreamGone)
	wantFault(t, publishes(t, s, c), sink.CodeStreamGone, fault.Environment)
	if _, err := j.CreateStream(t.Context(), st.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	wantAlarms(t, s, sink.CodeStreamRecreated)
	wantFault(t, publishes(t, s, c), sink.CodeStreamRecreated, fault.Environment)
}

// blocks returns the files of a stream's messages, in order, and its index.
func blocks(t *testing.T, ns *testserver.NATSServer) (files []string, index string) {
	t.Helper()
	dir := filepath.Join(ns.StoreDir(), "jetstream", "$G", "streams", streamName, "msgs")
	files, err := filepath.Glob(filepath.Join(dir, "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages in %s: %v", dir, err)
	}
	slices.SortFunc(files, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	return files, filepath.Join(dir, "index.db")
}

// damaged fills a stream, kills its server, damages its files, and starts it again.
func damaged(t *testing.T, damage func(files []string)) (*nats.Conn, *stream.Sink, *sinktest.Cursor) {
	t.Helper()
	ns := testserver.NATS(t)
	nc := connect(t, ns)
	s := open(t, nc, config())
	f := feed()
	f.BodyBytes = 60_000
	c := claimed(t, s, f, sink.Hint{})
	for range 60 { // 72 MB: several blocks
		if err := publishes(t, s, c); err != nil {
			t.Fatal(err)
		}
	}
	wantAlarms(t, s)
	ns.Kill()
	files, index := blocks(t, ns)
	if len(files) < 3 {
		t.Fatalf("only %d blocks", len(files))
	}
	damage(files)
	if err := os.Remove(index); err != nil && !errors.Is(err, os.ErrNotExist) { // it is written rarely: after a power cut it is old
		t.Fatal(err)
	}
	ns.Restart(t)
	awaitConnected(t, nc)
	return nc, s, c
}

// One bit of one file turns over, and NATS says nothing: the audit does.
func TestAuditFindsAFlippedBit(t *testing.T) {
	_, s, c := damaged(t, func(files []string) {
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	wantAlarms(t, s, sink.CodeStreamGaps)
	wantFault(t, publishes(t, s, c), sink.CodeStreamGaps, fault.Environment)
}

// A power cut takes the tail: the alarm stays until the stream has again what
// it had.
func TestAuditFindsALostTail(t *testing.T) {
	nc, s, _ := damaged(t, func(files []string) {
		info, err := os.Stat(files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(files[len(files)-1], info.Size()/2); err != nil {
			t.Fatal(err)
		}
	})
	wantAlarms(t, s, sink.CodeStreamRollback)
	wantAlarms(t, s, sink.CodeStreamRollback)
	again := open(t, nc, config())
	f := feed()
	f.BodyBytes = 60_000
	c := claimed(t, again, f, sink.Hint{})
	for range 60 {
		if err := publishes(t, again, c); err != nil {
			t.Fatal(err)
		}
	}
	wantAlarms(t, s)
}

// A copy that is gone is an alarm while it is, and delivery goes on.
func TestAuditFindsAMissingCopy(t *testing.T) {
	servers := testserver.NATSCluster(t, 3)
	nc := connectAll(t, servers)
	cfg := config()
	cfg.Replicas = 3
	s := open(t, nc, cfg)
	c := claimed(t, s, feed(), sink.Hint{})
	await := func(what string, ok func(sink.Health) bool) {
		t.Helper()
		var h sink.Health
		for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			var err error
			if h, err = s.Audit(t.Context()); err == nil && ok(h) {
				return
			}
		}
		t.Fatalf("%s: %+v", what, h)
	}
	all := func(h sink.Health) bool { return len(h.Alarms) == 0 && h.Current == 3 && h.Replicas == 3 }
	await("all there", all)
	i := leader(t, nc, servers)
	down := servers[(i+1)%3]
	if nc.ConnectedUrl() == down.URL() {
		down = servers[(i+2)%3]
	}
	down.Kill()
	await("one gone", func(h sink.Health) bool {
		return len(h.Alarms) == 1 && h.Alarms[0].Code == sink.CodeStreamReplicas && h.Current == 2
	})
	if err := publishes(t, s, c); err != nil {
		t.Errorf("with a majority: %v", err)
	}
	down.Restart(t)
	await("all there again", all)
}

// connectAll connects to a cluster as the daemon does with several URLs.
func connectAll(t testing.TB, servers []*testserver.NATSServer) *nats.Conn {
	t.Helper()
	return connectURL(t, servers[0].URL()+","+servers[1].URL()+","+servers[2].URL())
}

// leader returns which server leads the stream.
func leader(t *testing.T, nc *nats.Conn, servers []*testserver.NATSServer) int {
	t.Helper()
	j, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		st, err := j.Stream(ctx, streamName)
		cancel()
		if err != nil {
			continue
		}
		for i := range servers {
			if c := st.CachedInfo().Cluster; c != nil && c.Leader == []string{"n1", "n2", "n3"}[i] {
				return i
			}
		}
	}
	t.Fatal("the stream has no leader")
	return 0
}
