package mysql

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// Waiting between attempts to connect: doubled from the first to the last, each
// with a random half taken off so that many readers don't come at once.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
)

// behindMax is how long the only host of a configuration may lack what was
// delivered: behind one name there may be a replica that catches up. With
// several hosts there is no such bound, because one of them may come back.
const behindMax = 30 * time.Second

// mendable reports whether another connection may get further.
func mendable(err error) bool {
	f, isFault := errors.AsType[*fault.Fault](err)
	if isFault {
		return f.Code == "server_unreachable" || f.Class == fault.Retryable
	}
	switch replica.Code(err) {
	case 0, 1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 3169, 4031:
		// Not from the server, or from one that is full, going down, or has
		// ended the session.
		return true
	}
	return false
}

// tour goes through the hosts of the list and remembers what each answered.
type tour struct {
	verdicts  []error // of each host: why reading can't go on there; nil while not known
	fails     int     // since events came
	behindMax time.Duration
	behind    time.Time // since when all that answer lack something
	now       func() time.Time
}

// step says what to do after an attempt.
type step struct {
	host int
	wait time.Duration
	// state while waiting.
	state cdc.State
	end   error  // not nil: nothing is left to try
	lost  string // with end: the code of what is lost for good
}

func newTour(hosts int, behindMax time.Duration, now func() time.Time) *tour {
	return &tour{verdicts: make([]error, hosts), behindMax: behindMax, now: now}
}

// next decides after an attempt at a host has ended with why; worked says that
// events had come. A host that worked is tried once more first. When every host
// refuses, the tour is over, unless one may yet catch up.
func (t *tour) next(host int, worked bool, why error) step {
	if worked {
		clear(t.verdicts)
		t.fails, t.behind = 0, time.Time{}
	}
	n := len(t.verdicts)
	s := step{host: host, state: cdc.StateWaiting}
	t.verdicts[host] = nil
	if !mendable(why) {
		t.verdicts[host] = why
	}
	if !worked || t.verdicts[host] != nil {
		s.host = (host + 1) % n
	}
	s.wait = backoffMin
	if t.fails%n == n-1 { // all were asked
		s.wait = min(backoffMax, backoffMin<<min(t.fails/n, 10))
	}
	s.wait = s.wait/2 + rand.N(s.wait/2)
	t.fails++
	refused, behind := 0, false
	for _, v := range t.verdicts {
		if v != nil {
			refused++
			behind = behind || fault.HasCode(v, "source_behind")
		}
	}
	if behind {
		s.state = cdc.StateBehind
		if t.behind.IsZero() {
			t.behind = t.now()
		}
	}
	if refused == n && (!behind || n == 1 && t.now().Sub(t.behind) >= t.behindMax) {
		s.end, s.lost = errors.Join(t.verdicts...), lost(t.verdicts...)
	}
	return s
}

// current returns the host that was used last.
func (s *Source) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// connecting says so, unless what was wrong before still is until it is not.
func (s *Source) connecting(addr string) {
	s.mu.Lock()
	behind := s.state == cdc.StateBehind
	s.mu.Unlock()
	if !behind {
		s.setState(cdc.StateConnecting, "connecting to "+addr)
	}
}

// wait sleeps between two attempts, and goes to the next host.
func (s *Source) wait(ctx context.Context, next step, why error) error {
	s.mu.Lock()
	s.reconnects++
	s.at = next.host
	s.mu.Unlock()
	s.setState(next.state, why.Error())
	if s.env.Log != nil {
		s.env.Log.Warn("connection lost, reading goes on from the last commit", "reason", why, "next", s.hosts[next.host].Addr, "wait", next.wait)
	}
	timer := time.NewTimer(next.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
