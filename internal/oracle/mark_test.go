package oracle

import (
	"context"
	"slices"
	"testing"
	"time"
)

// mark is a fault that is over, and what comes after it.
type mark struct {
	from   time.Time // what is measured begins here
	after  time.Time // messages stored later are after the fault
	claims bool      // only those behind a claim of the stream are
	first  time.Time // when the first one was stored; zero until found
	marked bool      // the claim's marker has been
}

// message looks at the stream's next message.
func (m *mark) message(msg Message) {
	kind := msg.header(headerKind)
	switch {
	case !m.first.IsZero() || !msg.Time.After(m.after):
	case kind == "marker":
		m.marked = true
	case kind == "" && (m.marked || !m.claims):
		m.first = msg.Time
	}
}

// took is how long it took until messages flowed.
func (m *mark) took() time.Duration { return m.first.Sub(m.from) }

// await waits until messages flow after a fault, and measures it: the stream
// itself says when the first was stored.
func (r *rig) await(m mark) {
	r.t.Helper()
	r.waitFor("messages after a fault", func() bool { return r.behind(m) })
	r.marks = append(r.marks, &m)
}

// behind reports whether messages flow that can only be after a fault.
func (r *rig) behind(m mark) bool {
	data, err := r.last(dataSubjects)
	if err != nil || !data.Time.After(m.after) {
		return false
	}
	if !m.claims {
		return true
	}
	control, err := r.last(ctlSubject)
	return err == nil && control.Time.After(m.after) && control.Sequence < data.Sequence
}

// quantile returns the value that a share of the sorted values don't exceed.
func quantile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

// A time is measured from the fault to the first message that can only be after it.
func TestMark(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	stream := []Message{{Time: at(5)}, {Time: at(11)}, {Time: at(20), Header: map[string][]string{headerKind: {"marker"}}},
		{Time: at(30)}, {Time: at(40)}}
	for _, c := range []struct {
		claims bool
		want   time.Duration
	}{{false, 9 * time.Millisecond}, {true, 28 * time.Millisecond}} {
		m := mark{from: at(2), after: at(10), claims: c.claims}
		for _, msg := range stream {
			m.message(msg)
		}
		if m.took() != c.want {
			t.Errorf("claims %t: %v, want %v", c.claims, m.took(), c.want)
		}
	}
	all := []time.Duration{3, 1, 2, 9, 4}
	slices.Sort(all)
	if quantile(all, 0.5) != 3 || quantile(all, 1) != 9 || quantile(nil, 0.5) != 0 {
		t.Error(quantile(all, 0.5), quantile(all, 1))
	}
}
