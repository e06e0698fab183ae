package jetstream

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

// examine implements sink.Kind's Examine: it looks at the stream, and makes none.
func examine(ctx context.Context, config any, env sink.Env) []checkup.Result {
	s, err := Open(*config.(*Config), env)
	if err != nil {
		return []checkup.Result{failed("stream", err)}
	}
	nc, err := env.NATS(ctx)
	if err != nil {
		return []checkup.Result{failed("stream", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return []checkup.Result{failed("stream", err)}
	}
	st, err := js.Stream(ctx, s.cfg.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []checkup.Result{checkup.Ok("stream", "there is no stream %s yet: the pipeline makes it", s.cfg.Stream)}
	}
	if err != nil {
		return []checkup.Result{failed("stream", s.setupFault(err))}
	}
	info := st.CachedInfo()
	var results []checkup.Result
	if err := s.check(info.Config); err != nil {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			results = append(results, failed("stream", e))
		}
	} else {
		results = append(results, checkup.Ok("stream", "%s has %d messages, %.1f MiB, and safe settings", s.cfg.Stream, info.State.Msgs, float64(info.State.Bytes)/(1<<20)))
	}
	results = append(results, s.protection(info.Config), s.copies(info))
	if r, ok := room(info, env.Now()); ok {
		results = append(results, r)
	}
	return results
}

func failed(check string, err error) checkup.Result {
	f := fault.Of(err)
	return checkup.Result{Check: check, Level: checkup.Failed, Found: f.Error(), Why: "nothing can be delivered, or not safely", Fix: []string{f.Hint}}
}

// protection looks whether messages can be taken from the stream's middle.
func (s *Sink) protection(c jetstream.StreamConfig) checkup.Result {
	if c.DenyDelete && c.DenyPurge {
		return checkup.Ok("stream_protection", "no message can be deleted by hand")
	}
	return checkup.Result{Check: "stream_protection", Level: checkup.Warning, Found: "messages can be deleted or purged by hand",
		Why: "a consumer would miss changes, and the pipeline stops when it notices",
		Fix: []string{fmt.Sprintf("nats stream edit %s --deny-delete --deny-purge", s.cfg.Stream)}}
}

// copies looks whether the stream outlives a server.
func (s *Sink) copies(info *jetstream.StreamInfo) checkup.Result {
	if info.Cluster == nil || info.Cluster.Name == "" || info.Config.Replicas > 1 {
		return checkup.Ok("stream_replicas", "replicas: %d", info.Config.Replicas)
	}
	return checkup.Result{Check: "stream_replicas", Level: checkup.Warning, Found: "the servers are a cluster, and the stream has one copy",
		Why: "a server that is lost takes what was not read yet with it", Fix: []string{"write replicas: 3 under sink.jetstream"}}
}

// hoursLeftMin is how soon a stream may be full before that is a warning.
const hoursLeftMin = 24

// room estimates when the stream is full, from how fast it grew so far.
func room(info *jetstream.StreamInfo, now time.Time) (checkup.Result, bool) {
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
		Fix: []string{"raise max_bytes or shorten max_age under sink.jetstream"}}, true
}
