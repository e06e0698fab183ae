package chain_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// faults is how badly the world behaves: chances per operation, in 1/10,000.
type faults struct {
	drop       int // the broker's queue overflows: one message is gone
	cut        int // the connection breaks; what is on its way may still arrive, late
	loseAck    int
	crash      int // the broker restarts and forgets its runs
	loseTail   int // the broker restarts and forgets messages, too
	stale      int // a read is answered by a server that lags behind
	full       int // the stream refuses messages for a while
	noRuns     bool
	delayMaxMS int
}

// broker is a stream that compares and swaps, and knows runs.
type broker struct {
	mu       sync.Mutex
	rng      *rand.Rand
	f        faults
	created  time.Time
	log      []stored
	runs     map[string]*brokerRun
	full     time.Time
	tailLost int
	life     int      // rises when the broker restarts without its tail: older connections are gone
	cuts     []string // tails lost
}

type stored struct {
	subject string
	body    string
	heads   map[string]string
	by      string // writer, run and number: for the account of a failure
}

type brokerRun struct {
	next, start uint64
	over        bool
}

func newBroker(seed uint64, f faults) *broker {
	return &broker{rng: rand.New(rand.NewPCG(seed, 1)), f: f, created: time.Now(), runs: map[string]*brokerRun{}}
}

// chance must be called with the lock held.
func (b *broker) chance(n int) bool { return n > 0 && b.rng.IntN(10000) < n }

func (b *broker) delay() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration(b.rng.IntN(b.f.delayMaxMS*1000+1)) * time.Microsecond
}

// packet is a message on its way; answer may be nil.
type packet struct {
	out    chain.Outgoing
	end    bool
	answer func(chain.Ack, error)
	writer string
	life   int // of the broker to which the connection leads
}

// take handles one packet, as the stream's leader does.
func (b *broker) take(p packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chance(b.f.crash) {
		b.runs = map[string]*brokerRun{}
	}
	if b.chance(b.f.loseTail) && len(b.log) > 0 {
		lost := b.rng.IntN(min(len(b.log), 30))
		b.cuts = append(b.cuts, fmt.Sprintf("%v: %d -> %d", time.Since(b.created), len(b.log), len(b.log)-lost))
		b.log = b.log[:len(b.log)-lost]
		b.runs = map[string]*brokerRun{}
		b.tailLost += lost
		b.life++
	}
	if p.life != b.life {
		return // its connection ended with the broker's process
	}
	if b.chance(b.f.full) {
		b.full = time.Now().Add(time.Duration(b.rng.IntN(3000)) * time.Millisecond)
	}
	if b.chance(b.f.drop) {
		return
	}
	if p.out.Run == 0 {
		err := b.store(p)
		b.reply(p, chain.Ack{Count: uint64(len(b.log))}, err)
		return
	}
	b.takeOfRun(p)
}

var errUnknownRun = errors.New("run unknown")

func (b *broker) takeOfRun(p packet) {
	key := p.writer + strconv.FormatUint(p.out.Run, 10)
	r, ok := b.runs[key]
	if b.f.noRuns && !ok {
		r = &brokerRun{next: p.out.Number, start: p.out.Expect - (p.out.Number - 1)}
		b.runs[key] = r
		ok = true
	}
	if !ok && p.out.Number == 1 && !p.end {
		r = &brokerRun{next: 1, start: uint64(len(b.log))}
		b.runs[key], ok = r, true
	}
	switch {
	case !ok || r.over && !b.f.noRuns:
		b.reply(p, chain.Ack{Err: errUnknownRun}, nil)
		return
	case p.out.Number != r.next && !b.f.noRuns:
		r.over = true
		b.reply(p, chain.Ack{Err: errors.New("gap")}, nil)
		return
	case p.end:
		r.over = true
		b.reply(p, chain.Ack{Count: r.next - 1, Ended: true}, nil)
		return
	}
	if err := b.store(p); err != nil {
		r.over = true
		b.reply(p, chain.Ack{Count: r.next - 1, Err: err}, nil)
		return
	}
	r.next++
	if p.out.Last || p.out.Number%4 == 0 {
		b.reply(p, chain.Ack{Count: p.out.Number, Ended: p.out.Last}, nil)
	}
	r.over = r.over || p.out.Last
}

func (b *broker) reply(p packet, a chain.Ack, err error) {
	if p.answer != nil && !b.chance(b.f.loseAck) {
		a.Run = p.out.Run
		p.answer(a, err)
	}
}

func (b *broker) store(p packet) error {
	o := p.out
	if time.Now().Before(b.full) {
		return fault.New(fault.Retryable, sink.CodeStreamFull, "S", "wait", "full")
	}
	if o.Expect != uint64(len(b.log)) {
		return fmt.Errorf("%w: %d", chain.ErrWrongLast, len(b.log))
	}
	heads := map[string]string{}
	for i, v := range o.Values {
		if v != "" {
			heads[chain.Header(i).String()] = v
		}
	}
	b.log = append(b.log, stored{o.Subject, string(o.Body), heads,
		fmt.Sprintf("%v %s%d.%d expecting %d", time.Since(b.created), p.writer, o.Run, o.Number, o.Expect)})
	return nil
}

// line is one writer's connection to the broker: packets arrive in order, late.
type line struct {
	b      *broker
	writer string
	ctx    context.Context
	wg     *sync.WaitGroup
	notify func(chain.Ack)

	mu      sync.Mutex
	queue   chan packet
	life    int    // of the broker when this was dialled
	session uint64 // rises with each dial
}

func newLine(ctx context.Context, wg *sync.WaitGroup, b *broker, writer string) *line {
	l := &line{b: b, writer: writer, ctx: ctx, wg: wg}
	l.dial()
	return l
}

func (l *line) dial() {
	queue := make(chan packet, 100_000)
	l.queue = queue
	l.session++
	l.b.mu.Lock()
	l.life = l.b.life
	l.b.mu.Unlock()
	l.wg.Go(func() {
		for {
			select {
			case p := <-queue:
				if p.out.Number%8 < 2 {
					time.Sleep(l.b.delay())
				}
				l.b.take(p)
			case <-l.ctx.Done():
				return
			}
		}
	})
}

func (l *line) push(p packet) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.mu.Lock()
	cut := l.b.chance(l.b.f.cut) || l.life != l.b.life
	l.b.mu.Unlock()
	begins := !p.end && (p.out.Run == 0 || p.out.Number == 1)
	if !cut && begins && p.out.Session != l.session {
		return chain.ErrSession
	}
	if cut {
		l.dial() // the old connection's packets arrive some day, behind newer ones
		return errors.New("connection lost")
	}
	p.writer, p.life = l.writer, l.life
	p.out.Body = append([]byte(nil), p.out.Body...)
	for i, v := range p.out.Values {
		p.out.Values[i] = string([]byte(v)) // views end with the call
	}
	l.queue <- p
	return nil
}

func (l *line) Notify(f func(chain.Ack)) { l.notify = f }
func (l *line) MessageBytesMax() int     { return 1 << 20 }

func (l *line) Send(m *chain.Outgoing) error {
	return l.push(packet{out: *m, answer: func(a chain.Ack, _ error) { l.notify(a) }})
}

func (l *line) End(run, sent uint64) error {
	return l.push(packet{out: chain.Outgoing{Run: run, Number: sent + 1}, end: true,
		answer: func(a chain.Ack, _ error) { l.notify(a) }})
}

func (l *line) Put(ctx context.Context, m *chain.Outgoing) error {
	done := make(chan error, 1)
	if err := l.push(packet{out: *m, answer: func(_ chain.Ack, err error) { done <- err }}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *line) State(context.Context) (chain.State, error) {
	l.mu.Lock()
	l.b.mu.Lock()
	gone := l.life != l.b.life
	l.b.mu.Unlock()
	if gone {
		l.dial()
	}
	session := l.session
	l.mu.Unlock()
	time.Sleep(l.b.delay())
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	n := len(l.b.log)
	if l.b.chance(l.b.f.stale) {
		n -= l.b.rng.IntN(min(n, 20) + 1)
	}
	return chain.State{Session: session, Created: l.b.created, FirstSeq: 1, LastSeq: uint64(n), Messages: uint64(n)}, nil
}

func (l *line) Get(_ context.Context, seq uint64) (*chain.Record, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if seq == 0 || seq > uint64(len(l.b.log)) {
		return nil, chain.ErrNoMessage
	}
	return &chain.Record{Seq: seq, Headers: l.b.log[seq-1].heads}, nil
}
