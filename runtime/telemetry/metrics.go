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
	gauge("dead_letters", "Dead letters that are kept now.", func(s *Status) float64 { return float64(s.DeadLettersKept) })
	counter("replays_total", "Replays of dead letters that the sink has confirmed; restarts don't reset it.", func(s *Status) uint64 { return s.Replays })
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
	c.snapshots(metric)
	c.schedules(metric)
	return c
}

// schedules adds the metrics of pipelines that run by a schedule.
func (c *collector) schedules(metric func(prometheus.ValueType, string, string, []string, func(*Status, func(float64, ...string)))) {
	of := func(kind prometheus.ValueType, name, help string, labels []string, emit func(*Schedule, func(float64, ...string))) {
		metric(kind, name, help, labels, func(s *Status, add func(float64, ...string)) {
			if s.Schedule != nil {
				emit(s.Schedule, add)
			}
		})
	}
	of(prometheus.CounterValue, "schedule_runs_total", "Runs that were due, by what became of them: ok, failed, skipped because the one before still went, missed because cdcd was not there.",
		[]string{"result"}, func(s *Schedule, add func(float64, ...string)) {
			add(float64(s.OK), RunOK)
			add(float64(s.Failed), RunFailed)
			add(float64(s.Skipped), "skipped")
			add(float64(s.Missed), "missed")
		})
	of(prometheus.GaugeValue, "schedule_running", "1 while a run goes, else 0.", nil, func(s *Schedule, add func(float64, ...string)) { add(bit(s.Running)) })
	of(prometheus.GaugeValue, "schedule_next_timestamp_seconds", "When the next run is due.", nil, func(s *Schedule, add func(float64, ...string)) {
		if s.Next != nil {
			add(float64(s.Next.UnixMilli()) / 1000)
		}
	})
	last := func(name, help string, value func(*Run) float64) {
		of(prometheus.GaugeValue, name, help, nil, func(s *Schedule, add func(float64, ...string)) {
			if s.Last != nil && s.Last.Ended != nil {
				add(value(s.Last))
			}
		})
	}
	last("schedule_last_run_seconds", "How long the last run took.", func(r *Run) float64 { return r.TookSeconds })
	last("schedule_last_end_timestamp_seconds", "When the last run ended.", func(r *Run) float64 { return float64(r.Ended.UnixMilli()) / 1000 })
	last("schedule_last_ok", "1 when the last run delivered everything, 0 when it failed.", func(r *Run) float64 { return bit(r.Result == RunOK) })
}

// snapshots adds the metrics of copies of tables: of tables that are being
// copied, which are few at a time.
func (c *collector) snapshots(metric func(prometheus.ValueType, string, string, []string, func(*Status, func(float64, ...string)))) {
	gauge := func(name, help string, value func(*Snapshot) float64) {
		metric(prometheus.GaugeValue, name, help, nil, func(s *Status, add func(float64, ...string)) {
			if s.Source.Snapshot != nil {
				add(value(s.Source.Snapshot))
			}
		})
	}
	table := func(name, help string, value func(*SnapshotTable) float64) {
		metric(prometheus.GaugeValue, name, help, []string{"table"}, func(s *Status, add func(float64, ...string)) {
			for i := 0; s.Source.Snapshot != nil && i < len(s.Source.Snapshot.Tables); i++ {
				t := &s.Source.Snapshot.Tables[i]
				add(value(t), t.Table)
			}
		})
	}
	gauge("snapshot_complete", "1 once all tables are copied, else 0.", func(s *Snapshot) float64 { return bit(s.Complete) })
	gauge("snapshot_rows", "Rows read of tables since the process started.", func(s *Snapshot) float64 { return float64(s.Rows) })
	gauge("snapshot_tables_copied", "Tables that were finished since the process started.", func(s *Snapshot) float64 { return float64(s.Copied) })
	gauge("snapshot_tables_left", "Tables that are not begun yet.", func(s *Snapshot) float64 { return float64(s.Left) })
	table("snapshot_table_rows", "Rows read so far of a table that is being copied.", func(t *SnapshotTable) float64 { return float64(t.Rows) })
	table("snapshot_table_rows_estimated", "Rows that the table has in all, by the server's guess, corrected by what was read.",
		func(t *SnapshotTable) float64 { return float64(t.RowsEstimated) })
	table("snapshot_table_chunks", "Chunks read of the table since the process started.", func(t *SnapshotTable) float64 { return float64(t.Chunks) })
	table("snapshot_table_rows_per_second", "How fast the table is read.", func(t *SnapshotTable) float64 { return t.RowsPerSecond })
	table("snapshot_table_left_seconds", "How long the table takes yet, at that speed; 0 while not known.", func(t *SnapshotTable) float64 { return t.LeftSeconds })
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
