package telemetry

import (
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const pageHead = `# Metrics

<!-- Written by go test ./runtime/telemetry -run TestMetricsPage -update, from what a scrape gives. -->

` + "`GET /metrics`" + ` of the configured ` + "`server:`" + ` gives these in Prometheus's text form, besides Go's own (` + "`go_`, `process_`" + `). Units are seconds and
bytes. Counters begin at 0 with the process unless their text says otherwise. The same figures are in ` + "`GET /v1/pipelines` and `GET /v1/guests`" + `.

What a connector counts with the capability ` + "`metrics`" + ` is shown as ` + "`cdcd_connector_NAME{pipeline, step}`" + `, a counter's with ` + "`_total`" + ` ([connectors](../guides/connectors.md)).
`

// sections of the page, by the prefix of their metrics; what fits none is a
// pipeline's.
var sections = []struct{ title, prefix, text string }{
	{"Pipelines", "cdcd_", ""},
	{"Streams", "cdcd_stream_", "As the stream's leader told when the stream was last looked over, every 30 seconds while the pipeline runs.\n"},
	{"Embedded NATS", "cdcd_nats_", ""},
	{"Connectors", "cdcd_wasm_", "Those with the label `step` are of a step's instances, and are kept while it has none. The others are the daemon's, over all connectors.\n"},
}

// The page lists each metric that a scrape gives, and no other.
func TestMetricsPage(t *testing.T) {
	left := 1.0
	r := Registry("v1", States{"streaming"}, func() []Status {
		return []Status{{Pipeline: "p", State: "streaming", CheckpointAt: time.Unix(1, 0), Source: Source{RetentionSeconds: &left, Snapshot: &Snapshot{Tables: []SnapshotTable{{Table: "d.t"}}}},
			Schedule: &Schedule{Next: &time.Time{}, Last: &Run{Ended: &time.Time{}}}}}
	}, time.Now)
	r.MustRegister(NewStreams([]string{"stream_gaps"}, func() []Status {
		return []Status{{Pipeline: "p", Stream: &Stream{BytesMax: 1, UntilFullSeconds: &left}}}
	}), NewNATS(func() *NATS { return &NATS{} }))
	r.MustRegister(NewGuests(func() Guests { return Guests{Steps: []GuestStep{{Pipeline: "p", Step: "s"}}} }))
	rows := make([]strings.Builder, len(sections))
	for _, f := range scraped(t, r) {
		at := len(sections) - 1
		for at >= 0 && !strings.HasPrefix(f.name, sections[at].prefix) {
			at--
		}
		if at >= 0 {
			fmt.Fprintf(&rows[at], "| `%s` | %s | %s | %s |\n", f.name, f.kind, f.labels, f.help)
		}
	}
	page := pageHead
	for k, s := range sections {
		page += "\n## " + s.title + "\n\n" + s.text
		if s.text != "" {
			page += "\n"
		}
		page += "| metric | kind | labels | |\n|---|---|---|---|\n" + rows[k].String()
	}
	const file = "../../docs/reference/metrics.md"
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != page {
		t.Errorf("docs/reference/metrics.md is stale: go test ./runtime/telemetry -run TestMetricsPage -update (%v)", err)
	}
}

// described is a metric as a scrape gives it.
type described struct{ name, kind, labels, help string }

func scraped(t *testing.T, r *prometheus.Registry) []*described {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var list []*described
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		if help, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, text, _ := strings.Cut(help, " ")
			list = append(list, &described{name: name, help: text})
			continue
		}
		m := list[len(list)-1]
		if kind, ok := strings.CutPrefix(line, "# TYPE "+m.name+" "); ok {
			m.kind = kind
		} else if m.labels == "" {
			var names []string
			for _, l := range label.FindAllStringSubmatch(line, -1) {
				names = append(names, l[1])
			}
			m.labels = strings.Join(names, ", ")
		}
	}
	return list
}

var label = regexp.MustCompile(`(\w+)="`)
