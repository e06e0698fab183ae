package runtime

import (
	"context"
	"errors"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// ReplayListed is how many dead letters a report lists at most, and a dry run looks at.
const ReplayListed = 1000

// Replay lets dead letters come by again, in the order of the log, and says what
// became of them. With an error it says what became of those before: the rest are as
// they were, but for a few that were in hand, of which each is done or as before. The
// error is a fault: pipeline.CodeReplayNotRunning, also where no daemon runs,
// pipeline.CodeReplayInterrupted, or that of the state.
func (l *DeadLetters) Replay(ctx context.Context, o telemetry.ReplayOrder) (telemetry.ReplayReport, error) {
	report := telemetry.ReplayReport{Pipeline: l.pipeline, DryRun: o.DryRun}
	keys, err := l.ordered(&o)
	if err != nil {
		return report, err
	}
	if report.Gone = max(0, len(o.IDs)-len(keys)); len(keys) == 0 {
		return report, nil
	}
	var p *pipeline.Pipeline
	ok := false
	if l.running != nil {
		p, ok = l.running()
	}
	if !ok {
		return report, fault.New(fault.Environment, pipeline.CodeReplayNotRunning, l.pipeline,
			"start the daemon, cdcd run or cdcd serve, and replay while the pipeline runs", "dead letters come by again in the running pipeline, and it does not run")
	}
	if o.DryRun {
		keys = keys[:min(len(keys), ReplayListed)]
		return report, p.Preview(ctx, keys, o.Force, func(r pipeline.ReplayPreview) {
			one := note(&report, r.ReplayResult)
			for _, m := range r.Messages {
				one.Messages = append(one.Messages, telemetry.ReplayedMessage(m))
			}
			report.DeadLetters = append(report.DeadLetters, one)
		})
	}
	err = p.Replay(ctx, keys, o.Force, func(r pipeline.ReplayResult) {
		one := note(&report, r)
		if r.Outcome != pipeline.Replayed && len(report.DeadLetters) < ReplayListed {
			report.DeadLetters = append(report.DeadLetters, one)
		}
	})
	if l.replayed != nil && report.Replayed > 0 {
		l.replayed()
	}
	if f := fault.Of(err); err != nil && report.Replayed > 0 {
		err = fault.New(f.Class, f.Code, l.pipeline, f.Hint, "%d of %d dead letters were replayed: %w", report.Replayed, len(keys), err)
	}
	return report, err
}

// note counts an outcome.
func note(report *telemetry.ReplayReport, r pipeline.ReplayResult) telemetry.ReplayedLetter {
	switch r.Outcome {
	case pipeline.Replayed:
		report.Replayed++
	case pipeline.ReplayDropped:
		report.Dropped++
	case pipeline.ReplayRefused:
		report.Refused++
	case pipeline.ReplayStale:
		report.Stale++
	case pipeline.ReplayUnplaced:
		report.NoStep++
	default:
		report.Gone++
	}
	return telemetry.ReplayedLetter{ID: r.Letter.String(), Outcome: string(r.Outcome), Reason: r.Reason}
}

// ordered returns those that an order is for, in the order of the log.
func (l *DeadLetters) ordered(o *telemetry.ReplayOrder) (keys []state.DeadLetterKey, err error) {
	for _, id := range o.IDs {
		k, err := parseID(id)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(o.IDs) == 0 {
		if keys, err = l.chosen(o); err != nil {
			return nil, err
		}
	}
	return l.kept.InOrder(keys)
}

// chosen returns those that an order's range and filter choose.
func (l *DeadLetters) chosen(o *telemetry.ReplayOrder) (keys []state.DeadLetterKey, err error) {
	var from, to state.DeadLetterKey
	if o.From != "" {
		if from, err = parseID(o.From); err != nil {
			return nil, err
		}
	}
	if o.To != "" {
		if to, err = parseID(o.To); err != nil {
			return nil, err
		}
	}
	take := func(d state.DeadLetter) error {
		if o.To != "" && to.Less(d.DeadLetterKey) {
			return errEnough
		}
		if chosen(o.Filter, &d) {
			keys = append(keys, d.DeadLetterKey)
		}
		return nil
	}
	if o.From != "" { // behind it are those that follow
		d, ok, err := l.kept.DeadLetter(from)
		if err != nil {
			return nil, err
		}
		if ok && take(d) != nil {
			return nil, nil
		}
	}
	if err = l.kept.DeadLettersBehind(from, take); errors.Is(err, errEnough) {
		err = nil
	}
	return keys, err
}
