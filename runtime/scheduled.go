package runtime

import (
	"context"

	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// stateScheduled is the state of a pipeline that waits for its next run. Nothing
// of it is there then: no connection, no module, no goroutine but the one that
// waits.
const stateScheduled = "scheduled"

// runScheduled runs a pipeline when it is due. A run that fails is on record, and
// the next one comes all the same.
func (d *Daemon) runScheduled(ctx context.Context, b *builder, j *job) error {
	keep, err := b.store.Pipeline(j.config.Name)
	if err != nil {
		return err
	}
	s := &scheduler{config: *j.config.Schedule, keep: keep, log: d.log.With("pipeline", j.config.Name), now: d.o.ScheduleNow}
	d.mu.Lock()
	j.runs = s
	d.mu.Unlock()
	return s.run(ctx, b.until != pipeline.Forever, func(ctx context.Context, r *pipeline.RunSpec) outcome {
		this := *b
		this.run, this.until = r, pipeline.Forever
		d.mu.Lock()
		j.fault = nil
		d.mu.Unlock()
		o := outcome{err: d.runOnce(ctx, &this, j)}
		d.mu.Lock()
		p := j.pipeline
		d.mu.Unlock()
		if p != nil {
			o.Status = p.Status()
		}
		d.rest(j)
		b.nats.release(j.config.Name)
		return o
	})
}

// rest lets go of a pipeline that has run, and keeps what its status was.
func (d *Daemon) rest(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	past := j.status()
	past.GuestBytes, past.BudgetBytes = 0, 0
	if j.past != nil {
		sum(&past, j.past)
	}
	j.past, j.pipeline, j.audit = &past, nil, nil
}

// between makes the status of a pipeline with a schedule out of what it was when
// it ran last, where it does not run; and adds up what is counted since the
// process started.
func (j *job) between(t telemetry.Status) telemetry.Status {
	if past := j.past; past != nil {
		if j.pipeline == nil {
			t = *past
		} else {
			sum(&t, past)
		}
	}
	t.Schedule = j.runs.status()
	if t.Schedule.Running {
		if last := t.Schedule.Last; j.pipeline != nil && last != nil {
			last.Messages = j.pipeline.Status().RunMessages
		}
		return t
	}
	t.State, t.Reason, t.Code, t.Ready, t.Since = stateScheduled, "", "", true, j.runs.began()
	if last := t.Schedule.Last; last != nil && last.Result == telemetry.RunFailed {
		t.Reason, t.Code, t.Ready = "the last run failed: "+last.Reason, last.Code, false
	}
	return t
}

// sum adds what earlier runs have counted.
func sum(t *telemetry.Status, past *telemetry.Status) {
	t.Restarts += past.Restarts
	t.RowsSkipped += past.RowsSkipped
	t.Sink.Messages += past.Sink.Messages
	t.Sink.Bytes += past.Sink.Bytes
	t.Source.Rows += past.Source.Rows
	t.Source.Bytes += past.Source.Bytes
	t.Source.Transactions += past.Source.Transactions
	t.Source.Reconnects += past.Source.Reconnects
	t.Delivery.Batches += past.Delivery.Batches
	t.Delivery.Sum += past.Delivery.Sum
	if t.Stream == nil {
		t.Stream = past.Stream
	}
}
