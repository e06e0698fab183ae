package oracle

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// stopScenarios are those in which nobody dies: processes stand still, the
// network fails, clocks jump.
func stopScenarios() []scenario {
	return []scenario{
		{name: "SIGSTOP of cdcd, another takes over, the first wakes up", share: 0.02, least: 3, harm: stopDaemon, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: filterAll, owners: 2}
		}},
		{name: "SIGSTOP of the broker", share: 0.01, least: 2, harm: stopBroker, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), brokers: one(t)}
		}},
		{name: "SIGSTOP of the database", share: 0.01, least: 2, harm: stopDatabase, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t)}
		}},
		{name: "network between cdcd and the broker", share: 0.05, least: 10, harm: troubleBroker, setup: func(t *testing.T) setup {
			b := one(t)
			return setup{db: testserver.MySQL(t), brokers: b, toBroker: testserver.NewProxy(t, b[0].Addr())}
		}},
		{name: "network between cdcd and the database", share: 0.05, least: 10, harm: troubleDatabase, setup: func(t *testing.T) setup {
			db := testserver.MariaDB(t)
			return setup{db: db, brokers: one(t), toDB: testserver.NewProxy(t, db.Addr())}
		}},
		{name: "clock of cdcd jumps, by up to 20 years", share: 0.05, least: 10, harm: jumpClock, setup: func(t *testing.T) setup {
			clockOrSkip(t)
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: filterAll, clocks: true}
		}},
	}
}

// stopDaemon freezes the daemon that writes, lets another take the stream over,
// and wakes the first: with what it had read, sent and not yet sent, it must not
// get another message in. Then it is killed, and is the next one to take over.
func stopDaemon(r *rig, rounds int) {
	a, b := r.daemons[0], r.daemons[1]
	for range rounds {
		r.nap(100*time.Millisecond, 700*time.Millisecond)
		a.signal(syscall.SIGSTOP)
		r.faults++
		at := time.Now()
		b.start()
		r.await(mark{from: at, after: at, claims: true})
		r.nap(0, 1500*time.Millisecond)
		a.signal(syscall.SIGCONT)
		r.nap(500*time.Millisecond, 1500*time.Millisecond)
		r.waitFor("the daemon that woke up to stand by", func() bool {
			return a.status().State == "standby" || b.status().State == "standby" // the first may have got it back
		})
		a.kill()
		r.kills++
		a, b = b, a
	}
	// The last one may stand by because the one that was killed had got it back.
	a.kill()
}

// stopBroker freezes the broker, for longer than cdcd waits for an
// acknowledgement every other time.
func stopBroker(r *rig, rounds int) {
	for k := range rounds {
		r.nap(100*time.Millisecond, time.Second)
		r.pause(r.broker().Process, k)
	}
}

func stopDatabase(r *rig, rounds int) {
	for k := range rounds {
		r.nap(100*time.Millisecond, time.Second)
		r.pause(r.db.Process, k)
	}
}

// pause freezes a server and measures from when it goes on.
func (r *rig) pause(p *testserver.Process, k int) {
	p.Pause()
	r.faults++
	if k%2 == 0 {
		r.nap(200*time.Millisecond, 2*time.Second)
	} else {
		r.nap(6*time.Second, 8*time.Second)
	}
	at := time.Now()
	p.Resume()
	r.await(mark{from: at, after: at})
}

func troubleBroker(r *rig, rounds int) {
	r.outages = true
	for k := range rounds {
		r.nap(20*time.Millisecond, 500*time.Millisecond)
		r.trouble(r.toBroker, k)
	}
}

func troubleDatabase(r *rig, rounds int) {
	r.outages = true
	for k := range rounds {
		r.nap(20*time.Millisecond, 500*time.Millisecond)
		r.trouble(r.toDB, k)
	}
}

// trouble does one thing to a network, all kinds in turn, and measures from when
// it is mended.
func (r *rig) trouble(p *testserver.Proxy, k int) {
	r.faults++
	kinds := []func(){
		p.Cut,
		p.Reset,
		func() { p.Silence(true, false) },
		func() { p.Slice(1+r.dice.IntN(100), time.Duration(r.dice.IntN(5))*time.Millisecond) },
		func() { p.Silence(false, true) },
		func() { p.CutIn(1 + r.dice.Int64N(200_000)) },
		func() { p.Limit(20_000 + r.dice.IntN(200_000)) },
		func() { p.Down(true) },
		func() { p.Latency(time.Duration(20+r.dice.IntN(300)) * time.Millisecond) },
		func() { p.Silence(true, true) },
	}
	kinds[k%len(kinds)]()
	if r.dice.IntN(3) == 0 {
		kinds[r.dice.IntN(len(kinds))]() // and another one on top
	}
	r.nap(200*time.Millisecond, 1500*time.Millisecond)
	if k%len(kinds) == 9 {
		r.nap(5*time.Second, 7*time.Second) // longer than anybody waits
		p.Reset()
	}
	at := time.Now()
	p.Mend()
	r.await(mark{from: at, after: at})
}

// clockOrSkip skips the test where processes can't have clocks of their own.
func clockOrSkip(t *testing.T) {
	t.Helper()
	if err := testserver.ClockProblem(); err != nil {
		testserver.Missing(t, "a clock of a process's own", err)
	}
}

// jumpClock sets cdcd's clock forth and back while it works, and kills it now
// and then, so that it starts again with a clock that was behind or ahead.
func jumpClock(r *rig, rounds int) {
	r.outages = true
	off := 0
	r.observe = func(m Message) {
		var marker struct {
			Time int64 `json:"ts_ms"`
		}
		if m.header(headerKind) == "marker" && json.Unmarshal(m.Body, &marker) == nil &&
			m.Time.Sub(time.UnixMilli(marker.Time)).Abs() > time.Second {
			off++
		}
	}
	r.verdict = func(*Report) {
		if off == 0 {
			r.t.Error("no marker was written by a clock that was wrong: this run proves nothing")
		}
	}
	year := 365 * 24 * time.Hour
	most := []time.Duration{2 * time.Second, time.Minute, 3 * time.Hour, 40 * 24 * time.Hour, 20 * year}
	for k := range rounds {
		r.nap(20*time.Millisecond, 500*time.Millisecond)
		if k%4 == 3 {
			r.daemons[0].kill()
			r.kills++
			r.daemons[0].start()
		}
		limit := most[r.dice.IntN(len(most))]
		r.daemons[0].jump(time.Duration(r.dice.Int64N(int64(2*limit))) - limit)
		r.faults++
		at := time.Now()
		r.await(mark{from: at, after: at})
	}
}
