package oracle

import (
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// stormScenarios are those of many hands: several daemons that each believe that
// the pipeline is theirs, and everything at random.
func stormScenarios() []scenario {
	return []scenario{
		{name: "four cdcd that all believe they own the pipeline", share: 0.05, least: 12, harm: fourOwners, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: filterAll, owners: 4}
		}},
		{name: "everything at random, MySQL, filter and mask", share: 0.03, least: 8, harm: storm, setup: onMySQL(stormSetup)},
		{name: "everything at random, MariaDB, filter and mask", share: 0.03, least: 8, harm: storm, setup: onMariaDB(stormSetup)},
	}
}

func stormSetup(t *testing.T, db *testserver.DB) setup {
	t.Helper()
	b := testserver.NATS(t)
	return setup{db: db, brokers: []*testserver.NATSServer{b}, steps: filterAll + "\n" + maskEmail, masked: masked, owners: 2,
		clocks: testserver.ClockProblem() == nil, toDB: testserver.NewProxy(t, db.Addr()), toBroker: testserver.NewProxy(t, b.Addr())}
}

// fourOwners runs four daemons with a state of their own each on one stream, and
// starts one of them anew all the time, which then takes the stream from the
// others. Now and then one freezes while it writes.
func fourOwners(r *rig, rounds int) {
	r.outages = true // a busy machine may keep a start from meeting the broker in time
	for _, d := range r.daemons[1:] {
		d.start()
	}
	for k := range rounds {
		r.nap(20*time.Millisecond, 600*time.Millisecond)
		d := r.daemons[r.dice.IntN(len(r.daemons))]
		if k%4 == 3 {
			r.freeze(d)
			continue
		}
		r.killDaemon(d, k%2 == 0)
	}
	at := time.Now()
	r.await(mark{from: at, after: at})
}

// freeze stops a daemon for a while that may be long enough for others to take over.
func (r *rig) freeze(d *daemon) {
	d.signal(syscall.SIGSTOP)
	r.faults++
	r.nap(50*time.Millisecond, time.Second)
	d.signal(syscall.SIGCONT)
}

// storm does one thing after the other, each at random, now and then one while
// the network is in trouble.
func storm(r *rig, rounds int) {
	r.outages = true
	const most = 1000 * time.Hour
	kinds := []struct {
		name string
		do   func()
	}{
		{"kill cdcd", func() { r.killDaemon(r.daemons[0], true) }},
		{"kill cdcd and go on", func() { r.killDaemon(r.daemons[0], false) }},
		{"kill the broker", r.killBroker},
		{"kill the database", r.killDatabase},
		{"stop the broker", func() { r.pause(r.broker().Process, 0) }},
		{"stop the database", func() { r.pause(r.db.Process, 0) }},
		{"stop cdcd", func() { r.freeze(r.daemons[0]) }},
		{"network to the broker", func() { r.trouble(r.toBroker, r.dice.IntN(9)) }},
		{"network to the database", func() { r.trouble(r.toDB, r.dice.IntN(9)) }},
		{"another cdcd takes over", r.takeover},
		{"clock", func() { r.daemons[0].jump(time.Duration(r.dice.Int64N(int64(2*most))) - most); r.faults++ }},
		{"broker forgets", r.forgetTail},
	}
	for range rounds {
		r.nap(20*time.Millisecond, 800*time.Millisecond)
		shaky := r.dice.IntN(4) == 0
		if shaky {
			r.toBroker.Slice(1+r.dice.IntN(2000), time.Duration(r.dice.IntN(2))*time.Millisecond)
			r.toDB.Latency(time.Duration(r.dice.IntN(30)) * time.Millisecond)
		}
		kind := r.dice.IntN(len(kinds))
		r.t.Logf("storm: %s, network shaky %t", kinds[kind].name, shaky)
		kinds[kind].do()
		r.toBroker.Mend()
		r.toDB.Mend()
	}
	at := time.Now()
	r.await(mark{from: at, after: at})
}

// takeover starts the other daemon while the first writes, and kills the first
// once it has lost the stream.
func (r *rig) takeover() {
	a, b := r.daemons[0], r.daemons[1]
	at := time.Now()
	b.start()
	r.faults++
	r.await(mark{from: at, after: at, claims: true})
	a.kill()
	r.kills++
	r.daemons[0], r.daemons[1] = b, a
}

// forgetTail lets the broker lose its last moments.
func (r *rig) forgetTail() {
	b := r.broker()
	before := r.crashNow(b)
	r.nap(0, 200*time.Millisecond)
	r.crashTo(before, b)
	at := time.Now()
	b.Restart(r.t)
	r.await(mark{from: at, after: at})
}
