package telemetry

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// connectorPrefix is that of the metrics of connectors: their names are the
// authors', and must not meet ours.
const connectorPrefix = "cdcd_connector_"

// connectors collects the metrics of connectors.
type connectors struct{ status func() []Status }

// Describe implements prometheus.Collector: unchecked, since which metrics there
// are depends on the modules that run.
func (c connectors) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector. Where two connectors have a metric of
// one name and different kinds, the kind goes into the name of the later:
// a scrape must not fail for what an author chose.
func (c connectors) Collect(ch chan<- prometheus.Metric) {
	kinds := map[string]string{}
	for _, s := range c.status() {
		for _, m := range s.Connectors {
			name := connectorPrefix + m.Name
			if m.Kind == Counter && !strings.HasSuffix(name, "_total") {
				name += "_total"
			}
			for kinds[name] != "" && kinds[name] != m.Kind {
				name += "_" + m.Kind
			}
			kinds[name] = m.Kind
			ch <- m.metric(name, s.Pipeline)
		}
	}
}

// metric makes the Prometheus form.
func (m *ConnectorMetric) metric(name, pipeline string) prometheus.Metric {
	desc := prometheus.NewDesc(name, "A "+m.Kind+" of a connector's own.", []string{"pipeline", "step"}, nil)
	if m.Kind == Histogram {
		buckets, count := map[float64]uint64{}, uint64(0)
		for i, n := range m.Counts {
			count += n
			if i < len(m.Bounds) {
				buckets[m.Bounds[i]] = count
			}
		}
		return prometheus.MustNewConstHistogram(desc, count, m.Value, buckets, pipeline, m.Step)
	}
	kind := prometheus.GaugeValue
	if m.Kind == Counter {
		kind = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(desc, kind, m.Value, pipeline, m.Step)
}
