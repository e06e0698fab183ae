package runtime

import (
	"slices"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// states lists the words that Status.State may be.
func states() telemetry.States {
	var s telemetry.States
	for _, v := range []pipeline.State{pipeline.StateStarting, pipeline.StateStreaming, pipeline.StatePaused,
		pipeline.StateStandby, pipeline.StateRetrying, pipeline.StateHalted, pipeline.StateStopped, pipeline.StateEnded} {
		s = append(s, string(v))
	}
	return append(s, stateScheduled)
}

// connectorKinds names the kinds of connectors' metrics, by sdk.MetricCounter...
var connectorKinds = [...]string{telemetry.Counter, telemetry.Gauge, telemetry.Histogram}

// Status returns what each pipeline does, in the order of the configuration.
func (d *Daemon) Status() []telemetry.Status {
	d.mu.Lock()
	jobs := make([]job, len(d.jobs))
	for i, j := range d.jobs {
		jobs[i] = *j
	}
	d.mu.Unlock()
	all := make([]telemetry.Status, len(jobs))
	for i := range jobs {
		all[i] = jobs[i].status()
		if jobs[i].runs != nil {
			all[i] = jobs[i].between(all[i])
		}
	}
	if h := d.natsHealth(); h != nil && h.Reason != "" { // behind what the pipelines say of their sinks
		for i := range all {
			if slices.Contains(brokerCodes(), all[i].Code) {
				all[i].Reason += "; " + h.Reason
			}
		}
	}
	return all
}

// natsHealth returns how the embedded NATS server is; nil for none.
func (d *Daemon) natsHealth() *telemetry.NATS {
	d.mu.Lock()
	n := d.nats
	d.mu.Unlock()
	if n == nil {
		return nil
	}
	return n.health()
}

func (j *job) status() telemetry.Status {
	t := telemetry.Status{Pipeline: j.config.Name, State: string(pipeline.StateStarting), Since: j.since,
		Source: telemetry.Source{Kind: j.config.Source.Kind}, Sink: telemetry.Sink{Kind: j.config.Sink.Kind}}
	if d, ok := j.config.Sink.Value.(sink.Delivering); ok {
		t.Sink.Delivery = d.DeliveryName()
	}
	if j.fault != nil {
		t.State, t.Reason, t.Code = string(pipeline.StateHalted), j.fault.Error(), j.fault.Code
	}
	if j.pipeline == nil {
		return t
	}
	s := j.pipeline.Status()
	t.State, t.Reason, t.Since = string(s.State), s.Reason, s.Since
	if s.Fault != nil && s.State != pipeline.StateStreaming {
		t.Code = s.Fault.Code
	}
	t.Ready = s.State == pipeline.StateStreaming || s.State == pipeline.StatePaused || s.State == pipeline.StateEnded
	if s.State == pipeline.StateStreaming && s.Source.State == cdc.StateBehind {
		t.Ready, t.Reason, t.Code = false, s.Source.Reason, string(cdc.StateBehind)
	}
	t.RowsIn, t.RowsOut, t.RowsDropped, t.RowsSkipped = s.RowsIn, s.RowsOut, s.RowsDropped, s.RowsSkipped
	t.DeadLetters, t.DeadLettersKept, t.Replays, t.Restarts = s.RowsDead, s.DeadLetters, s.Replays, s.Restarts
	t.LagSeconds, t.CheckpointAt = s.Lag.Seconds(), s.Checkpoint
	t.Delivery = telemetry.Delivery{Batches: s.Delivery.Batches, Sum: s.Delivery.Sum.Seconds(),
		Last: s.Delivery.Last.Seconds(), P50: s.Delivery.P50.Seconds(), P99: s.Delivery.P99.Seconds()}
	t.GuestBytes, t.BudgetBytes = s.GuestBytes, s.BudgetBytes
	for i, m := range j.metrics {
		for _, v := range m.Snapshot() {
			t.Connectors = append(t.Connectors, telemetry.ConnectorMetric{Step: j.config.Steps[i].Name, Name: v.Name,
				Kind: connectorKinds[v.Kind], Value: v.Value, Bounds: v.Bounds, Counts: v.Counts})
		}
	}
	if len(s.Receipts) > 0 {
		t.Receipts = s.Receipts
	}
	for _, g := range s.Gaps {
		t.Gaps = append(t.Gaps, telemetry.Gap{Cause: g.Cause, From: string(g.From), To: string(g.To), Place: g.Place, Tx: g.Tx,
			Tables: g.Tables, Detail: g.Detail, Time: g.Time})
	}
	t.Source.State, t.Source.Reason, t.Source.Server = string(s.Source.State), s.Source.Reason, s.Source.Server
	if until := s.Source.Retained; !until.IsZero() {
		left := time.Until(until).Seconds()
		t.Source.RetentionSeconds = &left
	}
	t.Source.Connected = s.Source.State == cdc.StateStreaming
	t.Source.Position, t.Source.Rows, t.Source.Bytes = s.Source.LogPos, s.Source.RowsRead, s.Source.BytesRead
	t.Source.Transactions, t.Source.Reconnects = s.Source.TxRead, s.Source.Reconnects
	t.Source.Snapshot = copied(s.Source.Snapshot)
	t.Sink.Messages, t.Sink.Bytes = s.Messages, s.Bytes
	if j.audit != nil {
		t.Stream = j.audit.status()
	}
	if t.Stream != nil && len(t.Stream.Alarms) > 0 && t.Code == "" {
		t.Code, t.Reason = t.Stream.Alarms[0].Code, t.Stream.Alarms[0].Reason
	}
	return t
}

func copied(s *cdc.Snapshot) *telemetry.Snapshot {
	if s == nil {
		return nil
	}
	t := &telemetry.Snapshot{Complete: s.Complete, Waiting: s.Waiting, Rows: s.Rows, Copied: s.Copied, Left: s.Left}
	if s.Request != 0 {
		t.Request = requestID(s.Request)
	}
	for _, v := range s.Tables {
		t.Tables = append(t.Tables, snapshotTable(v))
	}
	return t
}

func snapshotTable(v cdc.SnapshotTable) telemetry.SnapshotTable {
	return telemetry.SnapshotTable{Table: v.DB + "." + v.Table, Rows: v.Rows, RowsEstimated: v.RowsEstimated,
		Chunks: v.Chunks, RowsPerSecond: v.RowsPerSecond, LeftSeconds: v.Left.Seconds()}
}
