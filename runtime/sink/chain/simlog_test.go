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
	torn       int // the power fails while an atomic run is stored: some of it is
	reconnect  int // the connection is replaced at some moment soon, and the writer is told, some moment later
	late       int // an answer, and all behind it, comes late: after the writer has given up waiting, or nearly
	noRuns     bool
	latest     bool // of each subject the last message alone is kept
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
	life     int             // rises when the broker restarts without its tail: older connections are gone
	cuts     []string        // tails lost
	stored   func()          // after each store that readers see as one; nil for nothing
	ever     map[string]bool // bodies that were stored at some time
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
	staged      []packet // of an atomic run
}

func newBroker(seed uint64, f faults) *broker {
	return &broker{rng: rand.New(rand.NewPCG(seed, 1)), f: f, created: time.Now(), runs: map[string]*brokerRun{}, ever: map[string]bool{}}
}

// chance must be called with the lock held.
func (b *broker) chance(n int) bool { return n > 0 && b.rng.IntN(10000) < n }

// stores reports whether the data messages of a group were stored at some time.
func (b *broker) stores(g *sink.Group) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range g.Messages {
		if m := &g.Messages[i]; m.Kind == sink.KindData && !b.ever[string(m.Body)] {
			return false
		}
	}
	return true
}

// within returns a random time up to most, if that happens at all.
func (b *broker) within(chance int, most time.Duration) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.chance(chance) {
		return 0, false
	}
	return time.Duration(b.rng.Int64N(int64(most))), true
}

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
	case p.out.Atomic:
		b.takeOfAtomic(r, p)
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
	if b.stored != nil {
		b.stored()
	}
	r.next++
	if p.out.Last || p.out.Number%4 == 0 {
		b.reply(p, chain.Ack{Count: p.out.Number, Ended: p.out.Last}, nil)
	}
	r.over = r.over || p.out.Last
}

// takeOfAtomic stages a message, and with the last one stores all or nothing.
func (b *broker) takeOfAtomic(r *brokerRun, p packet) {
	if !p.end {
		r.staged = append(r.staged, p)
		r.next++
	}
	if !p.end && !p.out.Last {
		if p.out.Number%4 == 0 {
			b.reply(p, chain.Ack{}, nil)
		}
		return
	}
	r.over = true
	if len(r.staged) > atomicMax {
		panic("an atomic run is too large")
	}
	if err := b.fault(r.staged[0].out.Expect); err != nil {
		b.reply(p, chain.Ack{Err: err}, nil)
		return
	}
	n := len(r.staged)
	if torn := b.chance(b.f.torn); torn {
		n = b.rng.IntN(n)
		b.runs = map[string]*brokerRun{}
		b.life++
	}
	for _, m := range r.staged[:n] {
		b.append(m)
	}
	if n < len(r.staged) {
		return // whoever sent it is not answered any more
	}
	if b.stored != nil {
		b.stored()
	}
	b.reply(p, chain.Ack{Count: uint64(n), Ended: true}, nil)
}

func (b *broker) reply(p packet, a chain.Ack, err error) {
	if p.answer != nil && !b.chance(b.f.loseAck) {
		a.Run = p.out.Run
		p.answer(a, err)
	}
}

func (b *broker) store(p packet) error {
	expect := p.out.Expect
	if p.out.Shared {
		expect = uint64(len(b.log))
	}
	if err := b.fault(expect); err != nil {
		return err
	}
	b.append(p)
	return nil
}

// fault says why nothing is stored that expects so many messages.
func (b *broker) fault(expect uint64) error {
	if time.Now().Before(b.full) {
		return fault.New(fault.Retryable, sink.CodeStreamFull, "S", "wait", "full")
	}
	if expect != uint64(len(b.log)) {
		return fmt.Errorf("%w: %d", chain.ErrWrongLast, len(b.log))
	}
	return nil
}

func (b *broker) append(p packet) {
	o := p.out
	heads := map[string]string{}
	for i, v := range o.Values {
		if v != "" {
			heads[chain.Header(i).String()] = v
		}
	}
	b.ever[string(o.Body)] = true
	b.log = append(b.log, stored{o.Subject, string(o.Body), heads,
		fmt.Sprintf("%v %s%d.%d expecting %d", time.Since(b.created), p.writer, o.Run, o.Number, o.Expect)})
}

// atomicMax is how many messages the broker takes in an atomic run.
const atomicMax = 16

// line is one writer's connection to the broker: packets arrive in order, late.
type line struct {
	b      *broker
	writer string
	ctx    context.Context
	wg     *sync.WaitGroup
	notify func(chain.Ack)
	held   []packet // by Send, until Flush

	answers chan answer // in the order in which the broker gave them

	mu      sync.Mutex
	queue   *packets
	life    int    // of the broker when this was dialled
	session uint64 // rises with each dial
	run     uint64 // that was sent last
}

// answer is one on its way; those of a connection that has ended may be lost.
type answer struct {
	give    func()
	session uint64
}

func newLine(ctx context.Context, wg *sync.WaitGroup, b *broker, writer string) *line {
	l := &line{b: b, writer: writer, ctx: ctx, wg: wg, answers: make(chan answer, 100_000)}
	l.dial()
	wg.Go(l.bring)
	return l
}

// bring brings answers, in order.
func (l *line) bring() {
	for {
		select {
		case a := <-l.answers:
			if d, late := l.b.within(l.b.f.late, 1500*time.Millisecond); late {
				sleep(l.ctx, d)
			}
			l.mu.Lock()
			old := a.session != l.session
			l.mu.Unlock()
			if _, lost := l.b.within(5000, 1); old && lost {
				continue
			}
			a.give()
		case <-l.ctx.Done():
			return
		}
	}
}

// answered returns the answer function of a packet that is sent now. It is called
// with mu held.
func (l *line) answered(give func(chain.Ack, error)) func(chain.Ack, error) {
	session := l.session
	return func(a chain.Ack, err error) { l.answers <- answer{func() { give(a, err) }, session} }
}

// replaced dials anew, and tells the writer so a little later, as the connection
// to a real broker does. It is called with mu held.
func (l *line) replaced() {
	l.dial()
	l.wg.Go(func() {
		sleep(l.ctx, l.b.delay())
		l.mu.Lock()
		run := l.run
		l.mu.Unlock()
		l.notify(chain.Ack{Run: run, Err: chain.ErrSession})
	})
}

func (l *line) dial() {
	queue := &packets{more: make(chan struct{}, 1)}
	l.queue = queue
	l.session++
	l.b.mu.Lock()
	l.life = l.b.life
	l.b.mu.Unlock()
	l.wg.Go(func() {
		for {
			select {
			case <-queue.more:
			case <-l.ctx.Done():
				return
			}
			for _, p := range queue.all() {
				if l.ctx.Err() != nil {
					return
				}
				if p.out.Number%8 < 2 {
					time.Sleep(l.b.delay())
				}
				l.b.take(p)
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
		l.replaced() // the old connection's packets arrive some day, behind newer ones
		return errors.New("connection lost")
	}
	if d, soon := l.b.within(l.b.f.reconnect, 30*time.Millisecond); soon {
		l.wg.Go(func() {
			sleep(l.ctx, d)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.replaced()
		})
	}
	if p.out.Run != 0 {
		l.run = p.out.Run
	}
	p.answer = l.answered(p.answer)
	p.writer, p.life = l.writer, l.life
	p.keep()
	l.queue.add(p)
	return nil
}

// keep copies what is good during the call alone.
func (p *packet) keep() {
	p.out.Body = append([]byte(nil), p.out.Body...)
	for i, v := range p.out.Values {
		p.out.Values[i] = string([]byte(v))
	}
}

func (l *line) Notify(f func(chain.Ack)) { l.notify = f }
func (l *line) MessageBytesMax() int     { return 1 << 20 }

// Send holds some messages back until Flush.
func (l *line) Send(m *chain.Outgoing) error {
	if m.Number == 1 {
		l.held = l.held[:0] // of a run that was broken off
	}
	p := packet{out: *m, answer: func(a chain.Ack, _ error) { l.notify(a) }}
	p.keep()
	if l.held = append(l.held, p); len(l.held) < 3 {
		return nil
	}
	return l.Flush()
}

func (l *line) Flush() error {
	held := l.held
	l.held = nil
	for _, p := range held {
		if err := l.push(p); err != nil {
			return err
		}
	}
	return nil
}

func (l *line) AtomicMax() int { return 16 }

func (l *line) End(run, sent uint64, atomic bool) error {
	if err := l.Flush(); err != nil {
		return err
	}
	return l.push(packet{out: chain.Outgoing{Run: run, Number: sent + 1, Atomic: atomic}, end: true,
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
		l.replaced()
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
	messages := uint64(n)
	if l.b.f.latest {
		messages = min(messages, 2)
	}
	return chain.State{Session: session, Created: l.b.created, FirstSeq: 1, LastSeq: uint64(n), Messages: messages}, nil
}

func (l *line) Get(_ context.Context, seq uint64) (*chain.Record, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if seq == 0 || seq > uint64(len(l.b.log)) {
		return nil, chain.ErrNoMessage
	}
	if l.b.f.latest { // only what nothing has taken the place of
		for _, m := range l.b.log[seq:] {
			if m.subject == l.b.log[seq-1].subject {
				return nil, chain.ErrNoMessage
			}
		}
	}
	return &chain.Record{Seq: seq, Headers: l.b.log[seq-1].heads}, nil
}
