package natsd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/unit"
)

const (
	guardEvery = 500 * time.Millisecond
	// A server that doesn't answer this often in a row, asked at this distance,
	// is started again: nine seconds of silence.
	probeEvery     = 3 * time.Second
	probeMissesMax = 3
	// Between attempts to start a server that won't start, or ails at once again.
	restartWaitMin = time.Second
	restartWaitMax = 30 * time.Second
	// reserveBytesMax is the most that is kept free on the disk.
	reserveBytesMax = 1 << 30
	// limitStepBytes is how much the limit must move before the server is told,
	// while the disk is far from full.
	limitStepBytes = 1 << 20
)

// Health is what the embedded server's guard knows.
type Health struct {
	// Reason says what is wrong, with the way out; empty while all is well.
	Reason string
	Since  time.Time // of Reason; zero while all is well
	// Restarts is how often the server was started again.
	Restarts uint64
	// DiskFreeBytes is what the disk has free, StoreBytes what the streams have,
	// and StoreBytesMax what they may have as things are.
	DiskFreeBytes, StoreBytes, StoreBytesMax int64
}

// Health returns how the embedded server is; the zero value for an external one.
func (n *NATS) Health() Health {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.health
	switch {
	case n.sick != nil:
		h.Reason, h.Since = "the embedded NATS server starts again: "+n.sick.Error(), n.sickSince
		if noSpace(n.sick) {
			h.Reason = "the disk of state.dir was full: make room, the embedded NATS server then starts again by itself"
		}
	case !n.lowSince.IsZero():
		h.Reason, h.Since = fmt.Sprintf("the disk of state.dir has %v free and a reserve is kept of it: make room, pipelines then go on by themselves",
			unit.Bytes(h.DiskFreeBytes)), n.lowSince
	}
	return h
}

// Run keeps the embedded server well until ctx ends: what the streams may have
// follows the disk's free space, and a server that can't write, has died or
// doesn't answer is started again in its place, once there is room. Connections
// meet the new one by themselves. With an external server Run only waits. It is
// called once, and has ended before Close is called.
func (n *NATS) Run(ctx context.Context) error {
	if !n.Embedded() {
		<-ctx.Done()
		return nil
	}
	g := newGuard(n)
	defer g.close()
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		g.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case err := <-n.trouble:
			g.ail(err)
		}
	}
}

// guard is the state of Run.
type guard struct {
	n       *NATS
	ask     func(context.Context, *nats.Conn) error
	nc      *nats.Conn // for probes
	probed  time.Time
	misses  int
	wait    time.Duration // before the next attempt, if this one fails
	next    time.Time     // when that is
	restart time.Time     // of the last restart
}

func newGuard(n *NATS) *guard {
	return &guard{n: n, ask: jetStreamAnswers, wait: restartWaitMin}
}

// ail notes why the server must be started again; the first reason is the cause.
func (g *guard) ail(why error) {
	g.n.mu.Lock()
	defer g.n.mu.Unlock()
	if g.n.sick == nil {
		g.n.sick, g.n.sickSince = why, time.Now()
	}
}

func (g *guard) ails() error {
	g.n.mu.Lock()
	defer g.n.mu.Unlock()
	return g.n.sick
}

// look does what there is to do now.
func (g *guard) look(ctx context.Context) {
	if err := g.examine(ctx); err != nil && ctx.Err() == nil {
		g.ail(err)
	}
	// Also of a server that ails: those who publish are told then, rather than
	// left without an answer. One that is dead has told them by itself.
	limitErr := g.n.setLimit()
	sick := g.ails()
	if sick == nil && limitErr != nil {
		g.ail(limitErr)
		sick = limitErr
	}
	now := time.Now()
	if sick == nil || ctx.Err() != nil || now.Before(g.next) || !g.n.room(sick) {
		return
	}
	g.n.cfg.Log.Warn("starting the embedded NATS server again", "cause", sick)
	g.close()
	if err := g.n.startAgain(ctx); err == nil {
		g.n.cfg.Log.Info("the embedded NATS server runs again", "took", time.Since(now).Round(time.Millisecond).String())
		if now.Sub(g.restart) > time.Minute {
			g.wait = restartWaitMin // the last one helped
		}
		g.misses, g.probed, g.restart = 0, time.Now(), now
	} else if ctx.Err() == nil {
		g.n.cfg.Log.Error("the embedded NATS server did not start again", "error", err, "again_in", g.wait.String())
	}
	g.next = time.Now().Add(g.wait)
	g.wait = min(2*g.wait, restartWaitMax)
}

// examine looks whether the server lives, and asks it now and then.
func (g *guard) examine(ctx context.Context) error {
	s := g.n.running()
	if s == nil || !s.Running() {
		return errors.New("the server has ended")
	}
	if !s.JetStreamEnabled() {
		return errors.New("the server has turned JetStream off")
	}
	if time.Since(g.probed) < probeEvery {
		return nil
	}
	if g.probe(ctx) == nil {
		g.misses = 0
	} else if g.misses++; g.misses >= probeMissesMax {
		return fmt.Errorf("the server gave no answer %d times", g.misses)
	}
	g.probed = time.Now()
	return nil
}

func (g *guard) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	if g.nc == nil {
		nc, err := g.n.Connect(ctx, "guard")
		if err != nil {
			return err
		}
		g.nc = nc
	}
	return g.ask(ctx, g.nc)
}

func (g *guard) close() {
	if g.nc != nil {
		g.nc.Close()
		g.nc = nil
	}
}

// running returns the server; nil when there is none.
func (n *NATS) running() *server.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// startAgain ends the server, whatever state it is in, and starts another on
// the same store and address. Two servers never run on one store.
func (n *NATS) startAgain(ctx context.Context) error {
	n.mu.Lock()
	s := n.server
	n.server = nil
	n.mu.Unlock()
	if err := shutdown(ctx, s); err != nil {
		n.mu.Lock()
		n.server = s // Close waits for it again
		n.mu.Unlock()
		return err
	}
	n.mu.Lock()
	sick := n.sick
	n.sick = nil // run limits the new one by what the disk has
	n.mu.Unlock()
	err := n.run(ctx, n.storeDir())
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.sick = sick
		return err
	}
	n.health.Restarts++
	return nil
}

func (n *NATS) storeDir() string { return filepath.Join(n.cfg.Dir, "nats") }

// setLimit makes the streams' limit what the disk can give now.
func (n *NATS) setLimit() error {
	s := n.running()
	if s == nil {
		return errors.New("the server has ended")
	}
	return n.limit(s)
}

// limit tells a server how much its streams may have. What they have counts as
// JetStream counts it, which is exact; the reserve is for what others write
// between two looks, for what JetStream doesn't count, and for the state.
func (n *NATS) limit(s *server.Server) error {
	free, reserve, err := diskRoom(n.storeDir())
	if err != nil {
		return err
	}
	account := s.GlobalAccount()
	if account == nil || !account.JetStreamEnabled() {
		return errors.New("the server has turned JetStream off")
	}
	used := int64(account.JetStreamUsage().Store)
	most := max(used+free-reserve, 1)
	if want := int64(n.cfg.StoreBytesMax); want > 0 {
		most = min(most, want)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &n.health
	h.DiskFreeBytes, h.StoreBytes = free, used
	n.noteRoom(free, reserve)
	if n.sick != nil {
		most = 1
	}
	if near := most-used < 64*limitStepBytes; !near && abs(most-n.limitSet) < limitStepBytes || most == n.limitSet {
		return nil
	}
	if err := setStoreLimit(account, most); err != nil {
		return fmt.Errorf("limit the store: %w", err)
	}
	n.limitSet, h.StoreBytesMax = most, most
	return nil
}

// noteRoom notes whether the disk has no more than its reserve, and says so
// once. A store that has filled it stops within a hair of that.
func (n *NATS) noteRoom(free, reserve int64) {
	low := free < reserve+reserve/16
	switch {
	case low && n.lowSince.IsZero():
		n.lowSince = time.Now()
		n.cfg.Log.Warn("the disk is nearly full: JetStream takes no more", "free", unit.Bytes(free).String(), "reserve", unit.Bytes(reserve).String(),
			"hint", "make room on the disk of state.dir; pipelines go on by themselves")
	case !low && !n.lowSince.IsZero():
		n.lowSince = time.Time{}
		n.cfg.Log.Info("the disk has room again: JetStream takes messages", "free", unit.Bytes(free).String())
	}
}

// room reports whether starting again can help: with a disk that is full it
// would only fail anew.
func (n *NATS) room(why error) bool {
	if !noSpace(why) {
		return true
	}
	free, reserve, err := diskRoom(n.storeDir())
	return err != nil || free >= reserve // starting says what is wrong
}

// diskRoom returns what a disk has free, and how much of that is to stay free:
// a tenth of the disk, or 1 GiB where that is less.
func diskRoom(dir string) (free, reserve int64, err error) {
	free, size, err := diskSpace(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("free disk space: %w", err)
	}
	return free, min(size/10, reserveBytesMax), nil
}

func abs(v int64) int64 { return max(v, -v) }

// noSpace knows a full disk by error and by the server's words for it.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

func setStoreLimit(account *server.Account, most int64) error {
	return account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: most, MaxStreams: -1,
		MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1}})
}
