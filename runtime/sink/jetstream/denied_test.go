package jetstream_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// needed is what docs/guides/nats.md says, without dead letters.
var needed = rights.Needed{
	Publish: []string{"$JS.API.INFO", "$JS.API.STREAM.*.SHOP", "$JS.API.STREAM.MSG.GET.SHOP", "$JS.API.CONSUMER.*.SHOP.>",
		"$JS.API.CONSUMER.MSG.NEXT.SHOP.>", "cdc.shop.>"},
	Subscribe: []string{"_INBOX.>"},
}

// users has one with these rights, and one who may do all.
func users(n rights.Needed) testserver.NATSOption {
	return testserver.NATSConfig("authorization { users: [{user: root, password: p}, {user: cdcd, password: p, " + n.String() + "}] }")
}

// without returns the needed rights less one, and with others instead.
func without(right string, instead ...string) rights.Needed {
	less := func(all []string) []string {
		if !slices.Contains(all, right) {
			return all
		}
		return append(slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == right }), instead...)
	}
	return rights.Needed{Publish: less(needed.Publish), Subscribe: less(needed.Subscribe)}
}

// The guide writes out what the hints do.
func TestGuideHasTheRights(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/guides/nats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(guide), "permissions: {")
	block, _, _ = strings.Cut(block, "```")
	fields := func(s string) string {
		return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \n{}[]", r) }), " ")
	}
	more := []string{"$JS.API.STREAM.*.SHOP_DLQ", "cdcd_dlq.shop.>"}
	want := rights.Needed{Publish: append(slices.Clone(needed.Publish), more...), Subscribe: needed.Subscribe}
	if got, want := fields("permissions: {"+block), fields(want.String()); strings.ReplaceAll(got, ",", "") != strings.ReplaceAll(want, ",", "") {
		t.Errorf("the guide has\n%s\nneeded is\n%s", got, want)
	}
}

// reload gives the running server's user other rights.
func (m mode) reload(t *testing.T, ns *testserver.NATSServer, n rights.Needed) {
	t.Helper()
	opts := []testserver.NATSOption{users(n)}
	if m.fsync {
		opts = append(opts, testserver.JetStreamConfig("sync_interval: always"))
	}
	ns.Reload(t, opts...)
}

// restricted connects as the user whose rights are a test's.
func restricted(t *testing.T, ns *testserver.NATSServer) *nats.Conn {
	return ns.Conn(t, nats.UserInfo("cdcd", "p"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// Each right that is missing is a fault that names it, and comes at once: nobody
// waits for an answer that is not given. Once it is granted the same sink goes on.
func TestDenied(t *testing.T) {
	for _, tt := range []struct {
		name string
		have rights.Needed
		want string // in the error
	}{
		{"the stream", without("$JS.API.STREAM.*.SHOP", "$JS.API.STREAM.CREATE.SHOP"), "publish to $JS.API.STREAM.INFO.SHOP"},
		{"its last message", without("$JS.API.STREAM.MSG.GET.SHOP"), "publish to $JS.API.STREAM.MSG.GET.SHOP"},
		{"the control subject", without("cdc.shop.>", "cdc.shop.shop.>"), "publish to cdc.shop._cdcd"},
		{"rows", without("cdc.shop.>", "cdc.shop._cdcd"), "publish to cdc.shop.shop.orders"},
		{"all answers", without("_INBOX.>", "nothing"), "subscribe to _INBOX."},
		{"answers to runs", without("_INBOX.>", "_INBOX.*.*"), "subscribe to _INBOX."},
		{"history", without("$JS.API.CONSUMER.*.SHOP.>"), "publish to $JS.API.CONSUMER.CREATE.SHOP."},
	} {
		for _, m := range append(slices.Clone(modes[:3]), mode{name: "shared"}) {
			if m.name == "shared" && !strings.Contains("rows, all answers, answers to runs", tt.name) {
				continue
			}
			t.Run(tt.name+", "+m.name, func(t *testing.T) {
				t.Parallel() // mostly it waits
				denied(t, m, tt.have, tt.want)
			})
		}
	}
}

func denied(t *testing.T, m mode, have rights.Needed, want string) {
	ns := m.server(t, users(needed))
	nc := restricted(t, ns)
	cfg := config()
	if m.name == "shared" {
		cfg.Delivery = "at_least_once"
	}
	r := &sinktest.Run{Feed: feed(), Groups: 20}
	if err := r.Do(t.Context(), m.open(t, nc, cfg)); err != nil {
		t.Fatal(err)
	}
	m.reload(t, ns, have)
	s := m.open(t, nc, cfg)
	try := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Do(ctx, s); err != nil {
			return err
		}
		return s.History(ctx, "", func([]byte) error { return nil })
	}
	for range 2 { // the second finds that nothing has changed
		began := time.Now()
		err := try()
		f := fault.Of(err)
		if f.Code != sink.CodeDenied || f.Class != fault.Retryable || f.Path != streamName || !strings.Contains(f.Error(), want) {
			t.Fatalf("%v (%v at %q), want to be told: %s", err, f.Class, f.Path, want)
		}
		for _, right := range append(needed.Publish, needed.Subscribe...) {
			if !strings.Contains(f.Hint, `"`+right+`"`) {
				t.Errorf("%s is not in the hint %s", right, f.Hint)
			}
		}
		if took := time.Since(began); took > 4*time.Second { // what is not told is overdue after five
			t.Errorf("it took %v", took)
		}
	}
	m.reload(t, ns, needed)
	granted(t, try)
	if m.name != "shared" { // where what was not confirmed may come twice
		root := ns.Conn(t, nats.UserInfo("root", "p"))
		if err := r.Feed.Check(stored(t, root)); err != nil {
			t.Error(err)
		}
	}
}

// granted tries with all rights. What was refused before may be told only now; a
// pipeline tries again then.
func granted(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for err := try(); err != nil; err = try() {
		if !fault.HasCode(err, sink.CodeDenied) || time.Now().After(deadline) {
			t.Fatalf("with the right: %v", err)
		}
	}
}

// A right that is taken away from a pipeline that runs is noticed with the next
// message, and few markers are left behind.
func TestDeniedWhileRunning(t *testing.T) {
	for _, m := range modes[:3] {
		t.Run(m.name, func(t *testing.T) {
			ns := m.server(t, users(needed))
			nc := restricted(t, ns)
			root := ns.Conn(t, nats.UserInfo("root", "p"))
			r := &sinktest.Run{Feed: feed()}
			s := m.open(t, nc, config())
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			done := begin(ctx, r, s)
			awaitMessages(t, root, 200)
			m.reload(t, ns, without("cdc.shop.>", "cdc.shop._cdcd"))
			if err := <-done; !fault.HasCode(err, sink.CodeDenied) {
				t.Fatal(err)
			}
			if n := markers(t, root); n > 3 {
				t.Errorf("%d markers", n)
			}
			m.reload(t, ns, needed)
			r.Groups = 20
			granted(t, func() error { return r.Do(ctx, s) })
			if err := r.Feed.Check(stored(t, root)); err != nil {
				t.Error(err)
			}
		})
	}
}

// markers returns how many the stream has.
func markers(t *testing.T, nc *nats.Conn) (n int) {
	t.Helper()
	_, st := manage(t, nc)
	info := st.CachedInfo().State
	for seq := uint64(1); seq <= info.LastSeq; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if m.Header.Get("Cdc-Kind") == "marker" {
			n++
		}
	}
	return n
}

// doctor names what is missing, and leaves nothing in the stream.
func TestDeniedIsExamined(t *testing.T) {
	ns := testserver.NATS(t, users(needed))
	nc := restricted(t, ns)
	cfg := config()
	cfg.DeadLetters.Stream = false
	if err := (&sinktest.Run{Feed: feed(), Groups: 5}).Do(t.Context(), open(t, nc, cfg)); err != nil {
		t.Fatal(err)
	}
	_, st := manage(t, nc)
	before := st.CachedInfo().State.LastSeq
	for want, have := range map[string]rights.Needed{
		"publish to $JS.API.STREAM.INFO.SHOP": without("$JS.API.STREAM.*.SHOP"),
		"publish to $JS.API.INFO":             without("$JS.API.INFO"),
		"publish to cdc.shop._cdcd":           without("cdc.shop.>"),
	} {
		mode{}.reload(t, ns, have)
		var found, hint string
		for _, r := range js.Kind().Examine(t.Context(), cfg, sink.Env{Pipeline: pipeline, Now: time.Now, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }}) {
			if r.Level.String() != "ok" {
				found += r.Found
				hint += strings.Join(r.Fix, "")
			}
		}
		if !strings.Contains(found, want) || !strings.Contains(hint, needed.String()) {
			t.Errorf("found %s, way out %s; want %s", found, hint, want)
		}
	}
	mode{}.reload(t, ns, needed)
	if _, st = manage(t, nc); st.CachedInfo().State.LastSeq != before {
		t.Errorf("the stream had %d messages and has %d", before, st.CachedInfo().State.LastSeq)
	}
}
