package runtime_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/sdk/golden"
	"github.com/cdcd-io/cdcd/state"
)

// refuseInto runs the recording through a step that refuses rows, into a server of
// its own, and returns what was logged.
func refuseInto(t *testing.T, url, dir, more string) (telemetry.Status, string) {
	t.Helper()
	yaml := fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: ["shop.*"]}}
    steps: [{wasm: mask, name: short, only: [shop.orders], with: {column: email, bytes_max: 30}, on_error: dead_letter}]
    sink: {jetstream: {stream: SHOP%s}}
state: {dir: %s}
nats: {url: %q}
`, recording(t, "mysql"), more, dir, url)
	o := options(t, parse(t, yaml))
	o.Module = func(config.Module) ([]byte, error) { return golden.Guests()[0].Module, nil }
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d.Status()[0], log.String()
}

// keptIn returns what a stopped daemon keeps.
func keptIn(t *testing.T, dir string) (ids []string, unpublished int) {
	t.Helper()
	s, err := state.OpenReadOnly(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.EachDeadLetter(func(d state.DeadLetter) error { ids = append(ids, d.String()); return nil }); err != nil {
		t.Fatal(err)
	}
	left, err := p.Unpublished(1000)
	if err != nil {
		t.Fatal(err)
	}
	return ids, len(left)
}

// published returns the ids in the stream of dead letters, in its order.
func published(t *testing.T, js jetstream.JetStream) (ids []string) {
	t.Helper()
	s, err := js.Stream(t.Context(), "SHOP_DLQ")
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var d telemetry.DeadLetter
		if err := json.Unmarshal(m.Data, &d); err != nil || d.ID != m.Header.Get("Cdc-Dead-Letter") || d.Reason == "" || len(d.Content) == 0 {
			t.Fatalf("%s: %v", m.Data, err)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// Each dead letter goes to a stream of its own, once, whatever that stream is like;
// a stream that can't be had holds up nothing, and is caught up with later.
func TestDeadLettersArePublished(t *testing.T) {
	ns := testserver.NATS(t)
	nc := ns.Conn(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()

	// Somebody has a stream of that name.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP_DLQ", Subjects: []string{"else"}}); err != nil {
		t.Fatal(err)
	}
	s, log := refuseInto(t, ns.URL(), dir, "")
	kept, left := keptIn(t, dir)
	if s.State != "ended" || len(kept) != 29 || left != 29 || strings.Count(log, "dead_letter_stream") == 0 {
		t.Fatalf("%s, %d kept, %d left\n%s", s.State, len(kept), left, log)
	}
	if err := js.DeleteStream(t.Context(), "SHOP_DLQ"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second has nothing to publish
		if _, log := refuseInto(t, ns.URL(), dir, ""); strings.Contains(log, "can't be published") || strings.Contains(log, "left to be published") {
			t.Error(log)
		}
		if got, want := fmt.Sprint(published(t, js)), fmt.Sprint(kept); got != want {
			t.Errorf("published %s\nkept %s", got, want)
		}
		if _, left := keptIn(t, dir); left != 0 {
			t.Errorf("%d are left", left)
		}
	}

	// Off by configuration.
	if err := js.DeleteStream(t.Context(), "SHOP_DLQ"); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "SHOP"); err != nil {
		t.Fatal(err)
	}
	off := t.TempDir()
	refuseInto(t, ns.URL(), off, ", dead_letters: {stream: false}")
	if kept, left := keptIn(t, off); len(kept) != 29 || left != 0 {
		t.Errorf("%d kept, %d left", len(kept), left)
	}
	if _, err := js.Stream(t.Context(), "SHOP_DLQ"); err == nil {
		t.Error("the stream is there")
	}
}
