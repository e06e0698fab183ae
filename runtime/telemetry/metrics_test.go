package telemetry

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var update = flag.Bool("update", false, "write the golden file")

func TestMetrics(t *testing.T) {
	now := time.Unix(1000, 0)
	left := 7200.0
	status := []Status{
		{
			Pipeline: "shop", State: "streaming", Since: now.Add(-5 * time.Second), Ready: true,
			Source: Source{Kind: "mysql", Connected: true, Rows: 10, Bytes: 2048, Transactions: 4, Reconnects: 1, RetentionSeconds: &left,
				Snapshot: &Snapshot{Rows: 30, Copied: 1, Left: 2, Tables: []SnapshotTable{{Table: "shop.orders", Rows: 20, RowsEstimated: 100, Chunks: 2, RowsPerSecond: 10, LeftSeconds: 8}}}},
			Sink: Sink{Kind: "jetstream", Messages: 6, Bytes: 600}, RowsIn: 10, RowsOut: 6, RowsDropped: 2, RowsSkipped: 1, DeadLetters: 1,
			LagSeconds: 0.25, Delivery: Delivery{Batches: 4, Sum: 0.02, Last: 0.004, P50: 0.003, P99: 0.01}, CheckpointAt: now.Add(-time.Second), GuestBytes: 65536, BudgetBytes: 4096, Restarts: 2,
			Connectors: []ConnectorMetric{{Step: "seen", Name: "repeats", Kind: Counter, Value: 3},
				{Step: "seen", Name: "keys", Kind: Gauge, Value: 7.5},
				{Step: "seen", Name: "age_seconds", Kind: Histogram, Value: 12, Bounds: []float64{1, 10}, Counts: []uint64{4, 2, 1}}},
		},
		{Pipeline: "batch", State: "scheduled", Since: now, Schedule: &Schedule{At: "@daily", Next: &now, OK: 3, Failed: 1, Skipped: 2, Missed: 4,
			Last: &Run{Run: 4, Ended: &now, TookSeconds: 2.5, Result: RunFailed}}},
		{Pipeline: "new", State: "halted", Since: now, Gaps: []Gap{{Cause: "position_purged"}}, Connectors: []ConnectorMetric{
			{Step: "other", Name: "keys", Kind: Histogram, Value: 1, Bounds: []float64{5}, Counts: []uint64{1, 0}},
			{Step: "other", Name: "repeats", Kind: Counter, Value: 1}}},
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(States{"streaming", "halted"}, func() []Status { return status }, func() time.Time { return now }),
		connectors{func() []Status { return status }})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	got := w.Body.Bytes()
	if *update {
		if err := os.WriteFile("testdata/metrics.golden", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/metrics.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	for line := range bytes.Lines(got) {
		name, _, _ := strings.Cut(string(line), "{")
		if !strings.HasPrefix(name, "#") && !strings.HasPrefix(name, "cdcd_") {
			t.Errorf("%q has not the prefix cdcd_", name)
		}
	}
}

// The registry registers: no metric is described twice or wrongly.
func TestRegistry(t *testing.T) {
	r := Registry("v1", States{"a"}, func() []Status { return []Status{{Pipeline: "p", State: "a"}} }, time.Now)
	families, err := r.Gather()
	if err != nil || len(families) < 10 {
		t.Errorf("Gather = %d families, %v", len(families), err)
	}
}
