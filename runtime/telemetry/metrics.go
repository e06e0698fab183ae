package telemetry

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// States are the words that Status.State may be; each is a series of
// cdcd_pipeline_state, so that the set of labels is closed.
type States []string

// Registry returns a registry of its own that asks status at each scrape.
func Registry(version string, states States, status func() []Status, now func() time.Time) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "cdcd_build_info", Help: "1, with the version of cdcd and Go as labels.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(states, status, now), connectors{status})
	return r
}

// family is one metric and how it is read from a status.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	emit func(s *Status, add func(v float64, labels ...string))
}

type collector struct {
	status   func() []Status
	families []family
	delivery *prometheus.Desc
}

func newCollector(states States, status func() []Status, now func() time.Time) *collector {
	c := &collector{status: status, delivery: prometheus.NewDesc("cdcd_delivery_seconds",
		"How long batches took from being read off the log to the sink's confirmation; quantiles are of the last 128.", []string{"pipeline"}, nil)}
	metric := func(kind prometheus.ValueType, name, help string, labels []string, emit func(*Status, func(float64, ...string))) {
		desc := prometheus.NewDesc("cdcd_"+name, help, append([]string{"pipeline"}, labels...), nil)
		c.families = append(c.families, family{desc, kind, emit})
	}
	counter := func(name, help string, value func(*Status) uint64) {
		metric(prometheus.CounterValue, name, help, nil, func(s *Status, add func(float64, ...string)) { add(float64(value(s))) })
	}
	gauge := func(name, help string, value func(*Status) float64) {
		metric(prometheus.GaugeValue, name, help, nil, func(s *Status, add func(float64, ...string)) { add(value(s)) })
	}
	metric(prometheus.GaugeValue, "pipeline_state", "1 for the state that the pipeline is in, 0 for the others.", []string{"state"},
		func(s *Status, add func(float64, ...string)) {
			for _, state := range states {
				add(bit(s.State == state), state)
			}
		})
	gauge("pipeline_state_seconds", "How long the pipeline has been in its state.", func(s *Status) float64 { return now().Sub(s.Since).Seconds() })
	counter("source_records_total", "Rows read of followed tables.", func(s *Status) uint64 { return s.Source.Rows })
	counter("source_bytes_total", "Bytes of log read.", func(s *Status) uint64 { return s.Source.Bytes })
	counter("source_transactions_total", "Transactions read.", func(s *Status) uint64 { return s.Source.Transactions })
	counter("source_reconnects_total", "Times that the source had to connect again.", func(s *Status) uint64 { return s.Source.Reconnects })
	gauge("source_connected", "1 while the source reads, else 0.", func(s *Status) float64 { return bit(s.Source.Connected) })
	metric(prometheus.GaugeValue, "source_retention_seconds", "How long the server still keeps the log that is not read yet, by its own settings.", nil,
		func(s *Status, add func(float64, ...string)) {
			if s.Source.RetentionSeconds != nil {
				add(*s.Source.RetentionSeconds)
			}
		})
	gauge("source_gaps", "Parts of the log that were not delivered and can't be had any more, over all runs.", func(s *Status) float64 { return float64(len(s.Gaps)) })
	gauge("lag_seconds", "How old the oldest change is that waits for the sink's confirmation; without one, how long after its commit the last was confirmed.", func(s *Status) float64 { return s.LagSeconds })
	metric(prometheus.CounterValue, "rows_total", "Rows by what became of them: in, out, dropped by a step, skipped by on_error, dead letters.",
		[]string{"outcome"}, func(s *Status, add func(float64, ...string)) {
			add(float64(s.RowsIn), "in")
			add(float64(s.RowsOut), "out")
			add(float64(s.RowsDropped), "dropped")
			add(float64(s.RowsSkipped), "skipped")
			add(float64(s.DeadLetters), "dead_letter")
		})
	counter("sink_messages_total", "Messages published.", func(s *Status) uint64 { return s.Sink.Messages })
	counter("sink_bytes_total", "Bytes of published messages.", func(s *Status) uint64 { return s.Sink.Bytes })
	counter("restarts_total", "Times that the pipeline began anew after a fault that may pass.", func(s *Status) uint64 { return s.Restarts })
	metric(prometheus.GaugeValue, "checkpoint_age_seconds", "Time since the last checkpoint.", nil, func(s *Status, add func(float64, ...string)) {
		if !s.CheckpointAt.IsZero() {
			add(now().Sub(s.CheckpointAt).Seconds())
		}
	})
	gauge("guest_memory_bytes", "Linear memory of the pipeline's steps.", func(s *Status) float64 { return float64(s.GuestBytes) })
	gauge("budget_bytes", "Bytes that batches in flight hold of the budget.", func(s *Status) float64 { return float64(s.BudgetBytes) })
	return c
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families {
		ch <- f.desc
	}
	ch <- c.delivery
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	all := c.status()
	for _, s := range all {
		d := s.Delivery
		quantiles := map[float64]float64{0.5: d.P50, 0.99: d.P99}
		if d.Batches == 0 {
			quantiles = nil
		}
		ch <- prometheus.MustNewConstSummary(c.delivery, d.Batches, d.Sum, quantiles, s.Pipeline)
	}
	for _, f := range c.families {
		for i := range all {
			f.emit(&all[i], func(v float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, append([]string{all[i].Pipeline}, labels...)...)
			})
		}
	}
}
