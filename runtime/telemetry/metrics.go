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
		newCollector(states, status, now))
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
}

func newCollector(states States, status func() []Status, now func() time.Time) *collector {
	c := &collector{status: status}
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
	gauge("source_lag_seconds", "Now minus the commit time of the last acknowledged transaction; 0 when all is delivered.",
		func(s *Status) float64 { return s.LagSeconds })
	counter("sink_messages_total", "Messages of data that the sink confirmed.", func(s *Status) uint64 { return s.Sink.Messages })
	counter("sink_bytes_total", "Bytes of confirmed messages.", func(s *Status) uint64 { return s.Sink.Bytes })
	counter("dead_letters_total", "Rows that became dead letters.", func(s *Status) uint64 { return s.DeadLetters })
	counter("checkpoint_commits_total", "Checkpoints made durable.", func(s *Status) uint64 { return s.Checkpoints })
	metric(prometheus.GaugeValue, "checkpoint_age_seconds", "Time since the last checkpoint.", nil, func(s *Status, add func(float64, ...string)) {
		if !s.CheckpointAt.IsZero() {
			add(now().Sub(s.CheckpointAt).Seconds())
		}
	})
	metric(prometheus.CounterValue, "step_records_total", "Rows that a step was given, by what became of them.", []string{"step", "verdict"},
		func(s *Status, add func(float64, ...string)) {
			for _, step := range s.Steps {
				add(float64(step.Rows-step.Dropped-step.DeadLetters), step.Name, "pass")
				add(float64(step.Dropped), step.Name, "drop")
				add(float64(step.DeadLetters), step.Name, "dead_letter")
			}
		})
	metric(prometheus.GaugeValue, "step_memory_bytes", "Linear memory of a step's instance.", []string{"step"},
		func(s *Status, add func(float64, ...string)) {
			for _, step := range s.Steps {
				add(float64(step.MemoryBytes), step.Name)
			}
		})
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
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	all := c.status()
	for _, f := range c.families {
		for i := range all {
			f.emit(&all[i], func(v float64, labels ...string) {
				ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, append([]string{all[i].Pipeline}, labels...)...)
			})
		}
	}
}
