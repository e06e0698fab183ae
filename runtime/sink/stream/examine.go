package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Examine is for sink.Kind's Examine: it looks at the stream, and makes none.
func (s *Sink) Examine(ctx context.Context) []checkup.Result {
	nc, err := s.env.NATS(ctx)
	if err != nil {
		return []checkup.Result{Failed("stream", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return []checkup.Result{Failed("stream", err)}
	}
	if err := s.log.meet(ctx, nc); err != nil {
		return []checkup.Result{Failed("stream", err)}
	}
	var st jetstream.Stream
	err = s.log.ask(ctx, []string{apiPrefix + "STREAM.INFO."}, func(ctx context.Context) error {
		st, err = js.Stream(ctx, s.spec.Name)
		return err
	})
	denied := s.log.mayPublish(ctx, nc)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return append(denied, checkup.Ok("stream", "there is no stream %s yet: the pipeline makes it", s.spec.Name))
	}
	if err != nil {
		return append(denied, Failed("stream", s.setupFault(err)))
	}
	info := st.CachedInfo()
	results := denied
	if err := s.check(info.Config); err != nil {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			results = append(results, Failed("stream", e))
		}
	} else {
		results = append(results, checkup.Ok("stream", "%s has %d messages, %.1f MiB, and safe settings", s.spec.Name, info.State.Msgs, float64(info.State.Bytes)/(1<<20)))
	}
	results = append(results, s.protection(info.Config), s.copies(info))
	var account accountRoom
	err = s.log.ask(ctx, []string{apiPrefix + "INFO"}, func(ctx context.Context) error {
		account, err = accountOf(ctx, nc)
		return err
	})
	if err != nil {
		return append(results, Failed("stream", unavailable(s.spec.Name, err)))
	}
	for _, f := range new(audit).look(s, info, account, s.env.Now()).Alarms {
		level := checkup.Warning
		if f.Code == sink.CodeStreamGaps { // a pipeline doesn't start
			level = checkup.Failed
		}
		results = append(results, checkup.Result{Check: f.Code, Level: level, Found: f.Err.Error(), Why: whyAlarm[f.Code], Fix: []string{f.Hint}})
	}
	if r, ok := s.room(info, s.env.Now()); ok {
		results = append(results, r)
	}
	return results
}

// whyAlarm says what an alarm that a single look can find does to the user.
var whyAlarm = map[string]string{
	sink.CodeStreamGaps:     "consumers can't get these messages, and the pipeline does not start",
	sink.CodeStreamReplicas: "another loss stops delivery, or takes messages with it",
}

// Failed returns what a check says when it could not be made.
func Failed(check string, err error) checkup.Result {
	f := fault.Of(err)
	return checkup.Result{Check: check, Level: checkup.Failed, Found: f.Error(), Why: "nothing can be delivered, or not safely", Fix: []string{f.Hint}}
}

// protection looks whether messages can be taken from the stream's middle.
func (s *Sink) protection(c jetstream.StreamConfig) checkup.Result {
	if c.DenyDelete && (c.DenyPurge || !s.spec.Settings.DenyPurge) {
		return checkup.Ok("stream_protection", "no message can be deleted by hand")
	}
	return checkup.Result{Check: "stream_protection", Level: checkup.Warning, Found: "messages can be deleted or purged by hand",
		Why: "a consumer would miss changes, and the pipeline stops when it notices",
		Fix: []string{fmt.Sprintf("nats stream edit %s --deny-delete --deny-purge", s.spec.Name)}}
}

// copies looks whether the stream outlives a server.
func (s *Sink) copies(info *jetstream.StreamInfo) checkup.Result {
	if info.Cluster == nil || info.Cluster.Name == "" || info.Config.Replicas > 1 {
		return checkup.Ok("stream_replicas", "replicas: %d", info.Config.Replicas)
	}
	return checkup.Result{Check: "stream_replicas", Level: checkup.Warning, Found: "the servers are a cluster, and the stream has one copy",
		Why: "a server that is lost takes what was not read yet with it", Fix: []string{"write replicas: 3 under " + s.spec.Section}}
}

// hoursLeftMin is how soon a stream may be full before that is a warning.
const hoursLeftMin = 24

// room estimates when the stream is full, from how fast it grew so far.
func (s *Sink) room(info *jetstream.StreamInfo, now time.Time) (checkup.Result, bool) {
	most, age := info.Config.MaxBytes, now.Sub(info.State.FirstTime)
	if most <= 0 || info.State.Msgs == 0 || age < time.Minute {
		return checkup.Result{}, false
	}
	perHour := float64(info.State.Bytes) / age.Hours()
	left := float64(most-int64(info.State.Bytes)) / perHour
	found := fmt.Sprintf("%.0f%% full, and full in %.0f hours at the rate so far", 100*float64(info.State.Bytes)/float64(most), left)
	if left >= hoursLeftMin || info.Config.MaxAge > 0 && perHour*info.Config.MaxAge.Hours() < float64(most) {
		return checkup.Ok("stream_room", "%s", found), true
	}
	return checkup.Result{Check: "stream_room", Level: checkup.Warning, Found: found, Why: "a full stream stops the pipeline until there is room",
		Fix: []string{"raise max_bytes or shorten max_age under " + s.spec.Section}}, true
}
