package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

const (
	auditTimeout = 10 * time.Second
	// The rate of growth is taken over at most so long, and at least so long.
	rateWindow    = time.Hour
	rateWindowMin = time.Minute
	// ratesKept is how many samples that is, one each half a minute.
	ratesKept = 128
	// hoursMax is more than anybody asks about: ten years.
	hoursMax = 10 * 365 * 24
	// lagMax is how many messages a copy may lag behind: a second or two of writing.
	lagMax = 100_000
	// silentMax is how long a copy may be silent.
	silentMax = 30 * time.Second
)

// audit is what Sink.Audit remembers from one time to the next. Audit's
// goroutine owns it, but for halt.
type audit struct {
	created  time.Time
	last     jetstream.StreamState
	samples  []sample                    // oldest first
	halt     atomic.Pointer[fault.Fault] // what Publish must not go on with
	rollback *fault.Fault                // stays until the stream has what it had
	purged   *fault.Fault                // stays: what was purged does not come back
}

// sample is how much there was at a time: in the stream, and in the account.
type sample struct {
	at              time.Time
	stream, account uint64
}

// Audit implements sink.Audited. It asks the stream's leader: what only another
// copy has lost is seen once that one leads.
func (s *Sink) Audit(ctx context.Context) (sink.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return sink.Health{}, err
	}
	s.log.rights.Over(nc)
	var h sink.Health
	err = s.log.ask(ctx, []string{"$JS.API.INFO", "$JS.API.STREAM.INFO."}, func(ctx context.Context) error {
		h, err = s.lookOver(ctx, nc)
		return err
	})
	return h, err
}

func (s *Sink) lookOver(ctx context.Context, nc *nats.Conn) (sink.Health, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return sink.Health{}, err
	}
	st, err := js.Stream(ctx, s.spec.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if s.audit.created.IsZero() {
			return sink.Health{}, nil // not made yet
		}
		gone := fault.Of(goneFault(s.spec.Name))
		s.audit.halt.Store(gone)
		return sink.Health{Name: s.spec.Name, Alarms: []*fault.Fault{gone}}, nil
	}
	if err != nil {
		return sink.Health{}, s.setupFault(err)
	}
	account, err := accountOf(ctx, nc)
	if err != nil {
		return sink.Health{}, err
	}
	return s.audit.look(s, st.CachedInfo(), account, s.env.Now()), nil
}

// accountRoom is what the account has and may have; the embedded server's limit
// follows its disk.
type accountRoom struct {
	Storage uint64 `json:"storage"`
	Limits  struct {
		MaxStorage int64 `json:"max_storage"`
	} `json:"limits"`
}

func accountOf(ctx context.Context, nc *nats.Conn) (a accountRoom, err error) {
	m, err := nc.RequestWithContext(ctx, "$JS.API.INFO", nil)
	if err != nil {
		return a, fmt.Errorf("ask for the account: %w", err)
	}
	return a, json.Unmarshal(m.Data, &a)
}

// look compares the stream with what it was, and makes its Health.
func (a *audit) look(s *Sink, info *jetstream.StreamInfo, account accountRoom, now time.Time) sink.Health {
	h := sink.Health{Name: s.spec.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, Replicas: info.Config.Replicas}
	if !s.spec.Latest && info.State.Msgs > 0 && info.State.LastSeq >= info.State.FirstSeq {
		h.Deleted = info.State.LastSeq - info.State.FirstSeq + 1 - info.State.Msgs
	}
	if h.Deleted > s.spec.GapsAccepted {
		f := gapsFault(s.spec.Name, h.Deleted)
		a.halt.Store(f) // as a new claim would: consumers can't have what is gone
		h.Alarms = append(h.Alarms, f)
	}
	h.Alarms = append(h.Alarms, a.compare(s, info, now)...)
	h.Alarms = append(h.Alarms, a.copies(s, info, &h)...)
	a.room(info, account, now, &h)
	if h.Full != nil && *h.Full < hoursLeftMin*time.Hour {
		h.Alarms = append(h.Alarms, fault.New(fault.Environment, sink.CodeStreamFilling, s.spec.Name,
			"raise max_bytes, shorten max_age, or give the server's disk more room", "the stream is full in %.1f hours at the rate of the last while", h.Full.Hours()))
	}
	return h
}

func gapsFault(stream string, deleted uint64) *fault.Fault {
	return fault.New(fault.Environment, sink.CodeStreamGaps, stream,
		fmt.Sprintf("find out who deletes; in a cluster another copy may have them: nats stream cluster step-down %s; to go on without them, set gaps_accepted: %d", stream, deleted),
		"%d messages are missing from the middle of the stream", deleted)
}

// compare finds what can only be seen from one time to the next: a stream that
// is another one, that got shorter, or whose beginning went before its time.
func (a *audit) compare(s *Sink, info *jetstream.StreamInfo, now time.Time) (alarms []*fault.Fault) {
	before, have := a.last, info.State
	if !a.created.Equal(info.Created) {
		if !a.created.IsZero() {
			f := fault.New(fault.Environment, sink.CodeStreamRecreated, s.spec.Name,
				"restore the stream that was, or begin anew: give the pipeline and its stream new names", "the stream was deleted and made again while the pipeline ran")
			a.halt.Store(f)
			alarms = append(alarms, f)
		}
		a.created, before = info.Created, jetstream.StreamState{}
		a.samples, a.rollback, a.purged = nil, nil, nil
	}
	switch {
	case have.LastSeq < before.LastSeq:
		// Not halted: what comes next is refused, and the pipeline then sends again
		// what was lost. Until it has, consumers see less than they saw.
		a.rollback = fault.New(fault.Retryable, sink.CodeStreamRollback, s.spec.Name,
			"the pipeline resumes where the stream now ends; a server that syncs before it acknowledges does not lose messages",
			"the stream ended at message %d and now ends at %d: the server lost what it had not synced", before.LastSeq, have.LastSeq)
		have.LastSeq = before.LastSeq // the mark to come back to
	default:
		a.rollback = nil
	}
	switch gone := have.FirstSeq; {
	case s.spec.Latest && s.spec.Settings.MaxAge == 0 && a.rollback == nil && have.NumSubjects < before.NumSubjects:
		// A key whose row is gone stays, with a delete for its last message.
		a.purged = fault.New(fault.Environment, sink.CodeStreamPurged, s.spec.Name,
			"find out who purges; where it was not for a table that was dropped, begin anew: give the pipeline and its bucket new names",
			"%d keys went without the database: it had %d, now %d", before.NumSubjects-have.NumSubjects, before.NumSubjects, have.NumSubjects)
	case s.spec.Latest: // the beginning goes when its keys are written anew
	case before.Msgs > 0 && gone > before.FirstSeq && !expired(info, before.FirstTime, now):
		a.purged = fault.New(fault.Environment, sink.CodeStreamPurged, s.spec.Name,
			"find out who purges; deny_purge keeps it off: nats stream edit "+s.spec.Name+" --deny-purge; consumers that had not read them need their tables copied anew",
			"messages %d to %d were deleted before max_age", before.FirstSeq, gone-1)
	}
	a.last = have
	for _, f := range []*fault.Fault{a.rollback, a.purged} {
		if f != nil {
			alarms = append(alarms, f)
		}
	}
	return alarms
}

// expired reports whether a message of that time may have gone by max_age.
func expired(info *jetstream.StreamInfo, written, now time.Time) bool {
	const slack = 5 * time.Second // of clocks
	return info.Config.MaxAge > 0 && now.Add(slack).Sub(written) >= info.Config.MaxAge
}

// copies looks at the stream's copies. The pipeline goes on: what it writes is
// acknowledged by a majority or not at all.
func (a *audit) copies(s *Sink, info *jetstream.StreamInfo, h *sink.Health) []*fault.Fault {
	h.Current = 1
	if info.Cluster == nil || info.Config.Replicas < 2 {
		return nil
	}
	var bad []string
	for _, r := range info.Cluster.Replicas {
		h.Behind = max(h.Behind, r.Lag)
		switch {
		case r.Offline:
			bad = append(bad, r.Name+" is offline")
		case r.Lag > lagMax:
			bad = append(bad, fmt.Sprintf("%s is %d messages behind", r.Name, r.Lag))
		case r.Active > silentMax:
			bad = append(bad, fmt.Sprintf("%s was last heard of %v ago", r.Name, r.Active.Round(time.Second)))
		case !r.Current && r.Lag > 0:
			bad = append(bad, r.Name+" catches up")
		default:
			h.Current++
		}
	}
	if n := info.Config.Replicas - 1 - len(info.Cluster.Replicas); n > 0 {
		bad = append(bad, fmt.Sprintf("%d copies are not there", n))
	}
	if info.Cluster.Leader == "" {
		bad = append(bad, "there is no leader")
	}
	if len(bad) == 0 {
		return nil
	}
	return []*fault.Fault{fault.New(fault.Environment, sink.CodeStreamReplicas, s.spec.Name,
		"look at these servers: nats server report jetstream; delivery goes on while a majority is there", "of %d copies: %v", info.Config.Replicas, bad)}
}

// room estimates when there is none, by how fast it went of late: in the
// stream, and in the account, which others fill as well, each copy for itself.
func (a *audit) room(info *jetstream.StreamInfo, account accountRoom, now time.Time, h *sink.Health) {
	a.samples = append(a.samples, sample{now, info.State.Bytes, account.Storage})
	for len(a.samples) > ratesKept || len(a.samples) > 2 && now.Sub(a.samples[0].at) > rateWindow {
		a.samples = a.samples[1:]
	}
	first := a.samples[0]
	span := now.Sub(first.at)
	// While nothing has expired yet, it grows by all that is written.
	growing := info.Config.MaxAge > 0 && info.State.FirstSeq <= 1
	note := func(had, has uint64, most int64, copies uint64) {
		if most <= 0 {
			return
		}
		left := uint64(max(most-int64(has), 0))
		if own := info.State.Bytes + left/copies; h.BytesMax == 0 || own < h.BytesMax {
			h.BytesMax = own
		}
		if span < rateWindowMin || has <= had {
			return
		}
		perHour := float64(has-had) / span.Hours()
		if growing && perHour*info.Config.MaxAge.Hours() < float64(most) {
			return // what is written in max_age fits
		}
		hours := min(float64(left)/perHour, hoursMax)
		if full := time.Duration(hours * float64(time.Hour)); h.Full == nil || full < *h.Full {
			h.Full = &full
		}
	}
	note(first.stream, info.State.Bytes, info.Config.MaxBytes, 1)
	note(first.account, account.Storage, account.Limits.MaxStorage, uint64(max(info.Config.Replicas, 1)))
}
