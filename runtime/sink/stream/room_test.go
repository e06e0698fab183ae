package stream

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// When a stream is full is told by how fast it grew of late, against the
// nearest of its own limit and the account's.
func TestFullAtTheRateOfLate(t *testing.T) {
	const mb = 1_000_000
	type at struct {
		after           time.Duration
		stream, account uint64
	}
	grow := func(every time.Duration, n int, stream, account uint64) (all []at) {
		for i := range n {
			all = append(all, at{every * time.Duration(i), stream * uint64(i), account * uint64(i)})
		}
		return all
	}
	for name, c := range map[string]struct {
		looks             []at
		maxBytes, account int64
		replicas          int
		want              float64 // hours; < 0 for none
		bytesMax          uint64
		alarm             bool
		maxAge            time.Duration
		first             uint64
	}{
		"too soon":               {grow(30*time.Second, 2, mb, mb), 100 * mb, -1, 1, -1, 100 * mb, false, 0, 1},
		"no limit":               {grow(time.Minute, 10, mb, mb), -1, -1, 1, -1, 0, false, 0, 1},
		"its own limit":          {grow(time.Minute, 61, mb, mb), 120 * mb, -1, 1, 1, 120 * mb, true, 0, 1},
		"far away":               {grow(time.Minute, 61, mb, mb), 6060 * mb, -1, 1, 100, 6060 * mb, false, 0, 1},
		"the disk is near":       {grow(time.Minute, 61, mb, 2*mb), 6060 * mb, 240 * mb, 1, 1, 180 * mb, true, 0, 1},
		"copies count":           {grow(time.Minute, 61, mb, 3*mb), -1, 360 * mb, 3, 1, 120 * mb, true, 0, 1},
		"does not grow":          {[]at{{0, mb, mb}, {time.Hour, mb, mb}}, 2 * mb, -1, 1, -1, 2 * mb, false, 0, 1},
		"shrinks":                {[]at{{0, 2 * mb, mb}, {time.Hour, mb, mb}}, 3 * mb, -1, 1, -1, 3 * mb, false, 0, 1},
		"full":                   {grow(time.Minute, 11, mb, mb), 10 * mb, -1, 1, 0, 10 * mb, true, 0, 1},
		"over the limit":         {grow(time.Minute, 11, mb, mb), 5 * mb, -1, 1, 0, 10 * mb, true, 0, 1},
		"max_age keeps it below": {grow(time.Minute, 61, mb, mb), 120 * mb, -1, 1, -1, 120 * mb, false, 100 * time.Minute, 1},
		"max_age is too long":    {grow(time.Minute, 61, mb, mb), 120 * mb, -1, 1, 1, 120 * mb, true, 3 * time.Hour, 1},
		"it expires, and grows":  {grow(time.Minute, 61, mb, mb), 120 * mb, -1, 1, 1, 120 * mb, true, 100 * time.Minute, 500},
		"only the last hour": {append(grow(time.Minute, 60, 100*mb, 0), at{3 * time.Hour, 6000 * mb, 0}, at{3*time.Hour + 59*time.Minute, 6060 * mb, 0}),
			6120 * mb, -1, 1, 59.0 / 60, 6120 * mb, true, 0, 1},
	} {
		var a audit
		s := &Sink{spec: Spec{Name: "S"}}
		begin := time.Unix(1_000_000, 0)
		var h sink.Health
		for _, l := range c.looks {
			info := &jetstream.StreamInfo{Created: begin, Config: jetstream.StreamConfig{MaxBytes: c.maxBytes, Replicas: c.replicas, MaxAge: c.maxAge},
				State: jetstream.StreamState{Bytes: l.stream, FirstSeq: c.first}}
			account := accountRoom{Storage: l.account}
			account.Limits.MaxStorage = c.account
			h = a.look(s, info, account, begin.Add(l.after))
		}
		hours := -1.0
		if h.Full != nil {
			hours = h.Full.Hours()
		}
		if diff := hours - c.want; diff > 0.01 || diff < -0.01 || h.BytesMax != c.bytesMax {
			t.Errorf("%s: full in %.2f hours at %d, want %.2f at %d", name, hours, h.BytesMax, c.want, c.bytesMax)
		}
		alarm := false
		for _, f := range h.Alarms {
			alarm = alarm || f.Code == sink.CodeStreamFilling
		}
		if alarm != c.alarm {
			t.Errorf("%s: alarms %v", name, h.Alarms)
		}
		if len(a.samples) > ratesKept {
			t.Errorf("%s: %d samples kept", name, len(a.samples))
		}
	}
}
