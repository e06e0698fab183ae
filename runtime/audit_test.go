package runtime_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// What is wrong with a stream is found while the pipeline runs, is in status
// and metrics, and halts the pipeline where a new start would be refused.
func TestStreamIsLookedOver(t *testing.T) {
	db, ns := testserver.MySQL(t), testserver.NATS(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	js, err := jetstream.New(ns.Conn(t))
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else made the stream, so that it can be harmed.
	st, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"cdc.shop.>"}, Discard: jetstream.DiscardNew,
		AllowBatchPublish: true, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, parse(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders]}}
    sink: {jetstream: {stream: SHOP, max_bytes: 1MiB}}
state: {dir: %s}
server: {listen: "127.0.0.1:0"}
nats: {url: %q}
`, db.DSN(), t.TempDir(), ns.URL())))
	o.Log, o.AuditEvery = slog.New(slog.NewTextHandler(t.Output(), nil)), 20*time.Millisecond
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	insert, id := func() {}, 0
	insert = func() { id++; db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d)", id)) }
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				stop()
				t.Fatalf("not %s: %+v", what, d.Status()[0])
			}
		}
	}
	await("streaming", func() bool { return d.Status()[0].State == string(pipeline.StateStreaming) })
	for range 5 {
		insert()
	}
	await("looked over", func() bool { s := d.Status()[0].Stream; return s != nil && s.Messages >= 6 })
	if s := d.Status()[0]; s.Stream.BytesMax != 1<<20 || len(s.Stream.Alarms) != 0 || s.Code != "" {
		t.Errorf("a good stream: %+v", s)
	}
	if err := st.DeleteMsg(ctx, 3); err != nil {
		t.Fatal(err)
	}
	await("alarmed", func() bool { s := d.Status()[0]; return s.Code == sink.CodeStreamGaps })
	if s := d.Status()[0].Stream; len(s.Alarms) != 1 || s.Deleted != 1 || s.Alarms[0].Hint == "" || s.Alarms[0].Since.IsZero() {
		t.Errorf("status: %+v", s)
	}
	page := metrics(t, d.AdminAddr())
	for _, line := range []string{`cdcd_stream_alarm{code="stream_gaps",pipeline="shop"} 1`, `cdcd_stream_alarm{code="stream_purged",pipeline="shop"} 0`,
		`cdcd_stream_deleted_messages{pipeline="shop"} 1`, `cdcd_stream_max_bytes{pipeline="shop"} 1.048576e+06`} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("metrics have no line %s", line)
		}
	}
	if strings.Contains(page, "cdcd_nats_") {
		t.Error("metrics of an embedded server that is not there")
	}
	insert()
	select {
	case err := <-ended:
		if !fault.HasCode(err, sink.CodeStreamGaps) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Errorf("does not halt: %+v", d.Status()[0])
	}
	stop()
}

// metrics scrapes a daemon.
func metrics(t *testing.T, addr string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
