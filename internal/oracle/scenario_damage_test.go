package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// outcomes counts what became of damage to a broker's files. Nothing of it may
// be silent: healed means that the stream is whole again, a code that cdcd
// stopped with it, and seen by readers that cdcd can't have noticed, because the
// broker itself had not, and that whoever reads the stream does.
type outcomes map[string]int

const (
	healed        = "healed"
	seenByReaders = "noticed by readers, as a gap"
)

func (o outcomes) String() string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(o)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, o[what]))
	}
	return strings.Join(parts, ", ")
}

// prepare writes a stream of several blocks.
func (r *rig) prepare(bytes uint64) {
	r.t.Helper()
	r.begin()
	run(r.t, r.work, func() {
		r.waitFor("a stream of several blocks", func() bool {
			info, err := r.stream()
			return err == nil && info.State.Bytes > bytes
		})
	})
	r.daemons[0].kill()
	if err := r.daemons[0].catchUp(2 * time.Minute); err != nil {
		r.t.Fatal(err)
	}
}

// damageOne harms the files of the only broker while it is down, and looks what
// cdcd and readers make of it, with cdcd down as well or running on.
func damageOne(r *rig, rounds int) *row {
	r.prepare(18 << 20)
	b, d := r.broker(), r.daemons[0]
	state := r.image(d.state)
	b.Kill()
	crashed := r.image(b.StoreDir())
	if err := b.Start(); err != nil {
		r.t.Fatal(err)
	}
	b.Stop()
	stopped := r.image(b.StoreDir())
	came := outcomes{}
	total := Report{}
	for k := range rounds {
		state.restore(r.t)
		live := k%3 == 2
		if live || k%2 == 0 {
			crashed.restore(r.t)
		} else {
			stopped.restore(r.t)
		}
		if live {
			r.startHalting(b, d)
		}
		what := r.damage(blocks(r.t, b.StoreDir()), k)
		if err := b.Start(); err != nil {
			r.t.Fatal(err)
		}
		outcome := healed
		if live {
			run(r.t, r.work, func() { outcome = r.running(d) })
			d.kill()
			d.mayEnd = false
		}
		if outcome == healed { // the whole stream is compared when nobody writes any more
			outcome = r.aftermath(d, &total)
		}
		r.t.Logf("seed %d, round %d: %s, cdcd running %t: %s", r.seed, k, what, live, outcome)
		came[outcome]++
		b.Stop()
	}
	r.note("%v", came)
	return r.row(total)
}

// startHalting runs cdcd on the broker until it has claimed the stream, and
// kills the broker under it.
func (r *rig) startHalting(b *testserver.NATSServer, d *daemon) {
	r.t.Helper()
	if err := b.Start(); err != nil {
		r.t.Fatal(err)
	}
	at := time.Now()
	d.mayEnd = true
	d.start()
	r.waitFor("a claim", func() bool {
		m, err := r.last(ctlSubject)
		return err == nil && m.Time.After(at)
	})
	b.Kill()
	r.kills++
}

// aftermath finds out what became of damage, once the broker is there again.
func (r *rig) aftermath(d *daemon, total *Report) string {
	r.t.Helper()
	if err := d.catchUp(time.Minute); err != nil {
		return r.named(d)
	}
	return r.readBack(total)
}

// noticed is how long cdcd may take to notice on a busy machine: it looks every
// 30 s at a stream that it writes to.
const noticed = 60 * time.Second

// running looks what a cdcd that runs makes of damage: it stops with a code, or
// the stream has no hole.
func (r *rig) running(d *daemon) string {
	r.t.Helper()
	for began := time.Now(); time.Since(began) < noticed; {
		if d.awaitEnd(2 * time.Second) {
			return r.named(d)
		}
		if at := time.Now(); r.holes() == 0 && r.flows(at, 2*time.Second) {
			return healed
		}
	}
	r.t.Errorf("seed %d: the stream misses %d messages, and cdcd runs on: %+v", r.seed, r.holes(), d.status())
	d.signal(syscall.SIGQUIT) // it prints what it does
	d.awaitEnd(10 * time.Second)
	r.keep()
	return "SILENT"
}

// named is the code with which cdcd stopped. To stop without one is wrong.
func (r *rig) named(d *daemon) string {
	r.t.Helper()
	s := d.summary()
	if s.Code == "" {
		r.keep()
		r.t.Errorf("seed %d: cdcd ended and does not say why: %+v", r.seed, s)
		return "cdcd ended without a code"
	}
	return s.Code
}

// readBack reads the stream after damage. Messages that are not there are
// noticed by a reader; any that is there twice, elsewhere or otherwise is not.
func (r *rig) readBack(total *Report) string {
	r.t.Helper()
	ctx, cancel := contextFor(r.t, 15*time.Second)
	defer cancel()
	checker := NewChecker(Spec{Pipeline: pipelineName, Masked: r.masked})
	_, err := Read(ctx, r.conn, streamName, checker.Message)
	complete := err == nil
	if complete {
		tables, err := r.work.Tables()
		if err != nil {
			r.t.Fatal(err)
		}
		checker.Compare(tables)
	}
	report := checker.Report()
	total.Messages += report.Messages
	gaps := gapsOf(checker)
	switch {
	case complete && !report.Wrong():
		return healed
	case errors.Is(err, context.DeadlineExceeded) || gaps > 0:
		if doubled := checker.counts[bySequence].Doubled; doubled > 0 {
			total.Doubled += doubled
			r.t.Errorf("seed %d: %d messages are there twice", r.seed, doubled)
			r.keep()
		}
		return seenByReaders
	}
	total.Lost += report.Lost
	total.Doubled += report.Doubled
	total.Reordered += report.Reordered
	total.Changed += report.Changed
	r.keep()
	r.t.Errorf("seed %d: damage that nobody notices: %+v\n%s", r.seed, report.Counts, strings.Join(report.Findings, "\n"))
	return "SILENT"
}

// gapsOf is how many messages a reader misses by the product's own counter,
// which is what tells a consumer.
func gapsOf(c *Checker) int { return c.counts[bySequence].Lost + c.counts[byStore].Lost }

// damageOneOfThree harms one replica of three while it is down, and makes it the
// leader, under load. A replica that lost messages must not pass for whole: cdcd
// says so, or the others heal it.
func damageOneOfThree(r *rig, rounds int) *row {
	r.outages = true
	r.prepare(18 << 20)
	came := outcomes{}
	d := r.daemons[0]
	run(r.t, r.work, func() {
		for k := range rounds {
			r.outages, d.mayEnd = false, true
			d.start()
			at := time.Now()
			r.waitFor("messages", func() bool { return r.flows(at, time.Second) })
			victim := r.brokers[r.dice.IntN(3)]
			victim.Kill()
			r.kills++
			paths := blocks(r.t, victim.StoreDir())
			what := r.damage(paths[:len(paths)-1], 2+k%2)
			victim.Restart(r.t)
			r.awaitReplicas()
			r.lead(victim)
			outcome := r.running(d)
			r.t.Logf("seed %d, round %d: %s of %s: %s", r.seed, k, what, victim.Name(), outcome)
			came[outcome]++
			d.kill()
			r.wipe(victim)
		}
		d.mayEnd = false
	})
	if err := d.catchUp(2 * time.Minute); err != nil {
		r.keep()
		r.t.Fatalf("seed %d: after the replica was made anew: %v", r.seed, err)
	}
	r.note("%v; whole again once the replica is made anew", came)
	return r.judge()
}

// lead makes a server the stream's leader.
func (r *rig) lead(b *testserver.NATSServer) {
	r.t.Helper()
	request := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, b.Name())
	r.waitFor("the replica to lead", func() bool {
		if r.leader() == b {
			return true
		}
		ctx, cancel := contextFor(r.t, 2*time.Second)
		defer cancel()
		_, _ = r.conn.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+streamName, request) // looked at above
		time.Sleep(500 * time.Millisecond)
		return false
	})
}

// holes is how many messages the stream's leader misses in the middle.
func (r *rig) holes() (n uint64) {
	r.t.Helper()
	if s := r.streamNow().State; s.Msgs > 0 {
		n = s.LastSeq - s.FirstSeq + 1 - s.Msgs
	}
	return n
}

// wipe makes a replica anew from the others: what an operator does with one whose
// disk can't be trusted.
func (r *rig) wipe(b *testserver.NATSServer) {
	r.t.Helper()
	b.Kill()
	r.kills++
	store := filepath.Join(b.StoreDir(), "jetstream")
	groups, _ := filepath.Glob(filepath.Join(store, "$SYS", "_js_", "S-R3F-*")) // the pattern is good
	for _, path := range append(groups, filepath.Join(store, "$G", "streams", streamName)) {
		if err := os.RemoveAll(path); err != nil {
			r.t.Fatal(err)
		}
	}
	b.Restart(r.t)
	r.awaitReplicas()
}

// A damage scenario that harms nothing would prove nothing.
func TestDamageIsNoticed(t *testing.T) {
	c := NewChecker(Spec{Pipeline: "p"})
	for _, m := range stream().messages[:100] {
		if m.Sequence != 50 {
			c.Message(m)
		}
	}
	if gapsOf(c) == 0 {
		t.Error("a message is missing, and no reader would notice")
	}
}
