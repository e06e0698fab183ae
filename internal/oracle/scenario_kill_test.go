package oracle

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// killScenarios are those of SIGKILL.
func killScenarios() []scenario {
	return []scenario{
		{name: "SIGKILL of cdcd, broker apart, MySQL by GTID, filter", share: 0.2, least: 2, harm: killDaemon, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: filterAll}
		}},
		{name: "SIGKILL of cdcd with its broker in it, MySQL by file, mask", share: 0.15, least: 2, harm: killDaemon, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t, testserver.NoGTID()), steps: maskEmail, masked: masked}
		}},
		{name: "SIGKILL of cdcd with its broker in it, MariaDB, filter", share: 0.2, least: 2, harm: killDaemon, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), steps: filterAll}
		}},
		{name: "SIGKILL of cdcd with its broker in it, durability: fsync", share: 0.05, least: 1, harm: killDaemon, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), fsync: true}
		}},
		{name: "SIGKILL of the broker, atomic: true", share: 0.05, least: 1, harm: killBroker, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), sinkKeys: ", atomic: true"}
		}},
		{name: "SIGKILL of cdcd, connector with state, MariaDB", share: 0.15, least: 2, harm: killNumbered, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), brokers: one(t), steps: numberAll}
		}},
		{name: "SIGKILL of the broker, MySQL", share: 0.15, least: 2, harm: killBroker, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t)}
		}},
		{name: "SIGKILL of the leader of three brokers, MySQL", share: 0.025, least: 1, harm: killLeader, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: testserver.NATSCluster(t, 3)}
		}},
		{name: "SIGKILL of MySQL", share: 0.0125, least: 2, harm: killDatabase, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: maskEmail, masked: masked}
		}},
		{name: "SIGKILL of MariaDB", share: 0.0125, least: 2, harm: killDatabase, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), brokers: one(t), steps: filterAll}
		}},
	}
}

// killDaemon kills cdcd, every other time before it has recovered from the last.
func killDaemon(r *rig, rounds int) {
	for k := range rounds {
		r.nap(20*time.Millisecond, 700*time.Millisecond)
		r.killDaemon(r.daemons[0], k%2 == 0)
	}
}

func (r *rig) killDaemon(d *daemon, measure bool) {
	d.kill()
	at := time.Now()
	d.start()
	r.faults++
	r.kills++
	if measure {
		r.await(mark{from: at, after: at, claims: true})
	}
}

// killNumbered is killDaemon over a connector with a state.
func killNumbered(r *rig, rounds int) {
	r.number()
	killDaemon(r, rounds)
}

// number has the numbers judged that a connector takes from its state, which must
// never disagree with the stream.
func (r *rig) number() {
	n := &numbers{last: map[string]uint64{}}
	r.observe, r.numbered = n.message, n
	r.verdict = func(report *Report) {
		report.Changed += len(n.findings)
		report.Findings = append(report.Findings, n.findings...)
		if n.rows < report.Rows || len(n.last) == 0 {
			r.t.Errorf("%d rows are numbered, of %d", n.rows, report.Rows)
		}
	}
}

func killBroker(r *rig, rounds int) {
	r.outages = true
	for range rounds {
		r.nap(20*time.Millisecond, time.Second)
		r.killBroker()
	}
}

// killBroker kills the one broker, and measures from when it is started again.
func (r *rig) killBroker() {
	r.broker().Kill()
	r.faults++
	r.kills++
	if r.dice.IntN(2) == 0 {
		r.nap(0, 500*time.Millisecond)
	}
	at := time.Now()
	r.broker().Restart(r.t)
	r.await(mark{from: at, after: at})
}

// killLeader kills the stream's leader, and measures from then: the others elect
// another one, however soon the first comes back.
func killLeader(r *rig, rounds int) {
	r.outages = true
	for range rounds {
		r.nap(100*time.Millisecond, time.Second)
		b := r.leader()
		b.Kill()
		at := time.Now()
		r.faults++
		r.kills++
		r.nap(0, 2*time.Second)
		b.Restart(r.t)
		r.await(mark{from: at, after: at})
		r.awaitReplicas()
	}
}

// stream returns what the stream's leader says of it.
func (r *rig) stream() (*jetstream.StreamInfo, error) {
	ctx, cancel := contextFor(r.t, time.Second)
	defer cancel()
	s, err := r.js().Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// streamNow is stream, once somebody answers: a server that has just gone on or
// been started may take its time.
func (r *rig) streamNow() (info *jetstream.StreamInfo) {
	r.t.Helper()
	r.waitFor("the stream's state", func() bool {
		var err error
		info, err = r.stream()
		return err == nil
	})
	return info
}

// leader waits until the stream has a leader, and returns its server.
func (r *rig) leader() (b *testserver.NATSServer) {
	r.t.Helper()
	r.waitFor("the stream's leader", func() bool {
		info, err := r.stream()
		if err != nil || info.Cluster == nil {
			return false
		}
		b = r.brokerNamed(info.Cluster.Leader)
		return b != nil
	})
	return b
}

// brokerNamed returns a server of the cluster: n1, n2, n3.
func (r *rig) brokerNamed(name string) *testserver.NATSServer {
	for _, b := range r.brokers {
		if b.Name() == name {
			return b
		}
	}
	return nil
}

// awaitReplicas waits until all replicas have what the leader has: before that a
// cluster is not expected to survive the loss of one more.
func (r *rig) awaitReplicas() {
	r.t.Helper()
	r.waitFor("the stream's replicas", func() bool {
		info, err := r.stream()
		if err != nil || info.Cluster == nil || len(info.Cluster.Replicas) != len(r.brokers)-1 {
			return false
		}
		for _, p := range info.Cluster.Replicas {
			if p.Offline || !p.Current {
				return false
			}
		}
		return true
	})
}

// killDatabase kills the server, and measures from when it is started again:
// what can only be after is what is committed once it answers.
func killDatabase(r *rig, rounds int) {
	r.outages = true
	for range rounds {
		r.nap(100*time.Millisecond, 1500*time.Millisecond)
		r.killDatabase()
	}
}

func (r *rig) killDatabase() {
	r.db.Kill()
	r.faults++
	r.kills++
	r.nap(0, 500*time.Millisecond)
	at := time.Now()
	r.db.Restart(r.t)
	r.await(mark{from: at, after: time.Now()})
}
