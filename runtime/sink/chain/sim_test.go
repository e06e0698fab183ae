package chain_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/sdk"
)

// world is one simulation: writers that all believe the pipeline is theirs.
type world struct {
	b    *broker
	feed *sinktest.Feed

	mu      sync.Mutex
	claims  int
	lost    uint64
	unknown []error
}

// outcome is what a simulation came to.
type outcome struct {
	data, claims, tailLost int
	wrong                  error
	unknown                []error
}

// simulate lets writers write for some time, and checks the stream.
func simulate(t *testing.T, seed uint64, writers int, f faults, duration time.Duration) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{b: newBroker(seed, f), feed: &sinktest.Feed{Subject: "cdc.p.d.t", Control: "cdc.p._cdcd"}}
		ctx, cancel := context.WithTimeout(t.Context(), duration)
		defer cancel()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { w.write(ctx, &wg, seed, strconv.Itoa(i)) })
		}
		wg.Wait()
		var bodies []string
		for i, m := range w.b.log {
			if m.heads["Cdc-Kind"] == "" {
				bodies = append(bodies, m.body)
			}
			if m.heads["Cdc-Seq"] != strconv.Itoa(len(bodies)) && o.wrong == nil {
				o.wrong = fmt.Errorf("message %d has Cdc-Seq %s behind %d data messages", i+1, m.heads["Cdc-Seq"], len(bodies))
			}
		}
		if err := w.feed.Check(bodies); err != nil {
			o.wrong = fmt.Errorf("%w\n%s", err, w.b.account(w.feed))
		}
		o.data, o.claims, o.tailLost, o.unknown = len(bodies), w.claims, w.b.tailLost, w.unknown
	})
	return o
}

// write is a daemon's life: it claims, publishes, is fenced, crashes, comes back
// with the checkpoint that it had.
func (w *world) write(ctx context.Context, wg *sync.WaitGroup, seed uint64, name string) {
	rng := rand.New(rand.NewPCG(seed, uint64(len(name))<<8+uint64(name[0])))
	var hint sink.Hint
	for life := 0; ctx.Err() == nil; life++ {
		l := newLine(ctx, wg, w.b, name+"/"+strconv.Itoa(life)+"-")
		c := chain.New(chain.Config{Pipeline: "p", Stream: "S", Control: "cdc.p._cdcd", Fingerprint: "f", Now: time.Now,
			WindowMessages: 40, AckTimeout: time.Second, Patience: 3 * time.Second}, l)
		lifetime, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(4000))*time.Millisecond)
		for lifetime.Err() == nil {
			err := w.claimAndPublish(lifetime, c, rng, &hint)
			w.note(lifetime, err)
			sleep(lifetime, time.Duration(rng.IntN(500))*time.Millisecond)
		}
		cancel()
		if rng.IntN(2) == 0 { // otherwise it is a zombie: it crashed with packets on their way
			c.Close(ctx)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// note keeps errors that no fault of the world explains.
func (w *world) note(ctx context.Context, err error) {
	expected := err == nil || ctx.Err() != nil || sink.IsFenced(err) ||
		fault.HasCode(err, sink.CodeSinkUnreachable) || fault.HasCode(err, sink.CodeStreamFull) ||
		fault.HasCode(err, sink.CodeStreamRollback)
	if !expected {
		w.mu.Lock()
		w.unknown = append(w.unknown, err)
		w.mu.Unlock()
	}
}

func (w *world) claimAndPublish(ctx context.Context, c *chain.Chain, rng *rand.Rand, hint *sink.Hint) error {
	a, err := c.Claim(ctx, *hint, func(context.Context) (sdk.Position, error) { return w.feed.Initial(), nil })
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.claims++
	w.lost += a.Lost
	w.mu.Unlock()
	cursor, err := w.feed.From(a)
	if err != nil {
		return err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(w.publish(run, c, cursor, rng.Uint64())) })
	err = w.confirm(run, c, hint, a.At.Tx == "")
	cancel(err)
	wg.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return context.Cause(run)
}

func (w *world) publish(ctx context.Context, c *chain.Chain, cursor *sinktest.Cursor, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	for {
		g := func() *sink.Group {
			switch rng.IntN(12) {
			case 0:
				return cursor.Empty()
			case 1:
				return cursor.Heartbeat()
			}
			return cursor.Next(rng.IntN(5)+1, rng.IntN(3) == 0)
		}()
		if err := c.Publish(ctx, g); err != nil {
			return err
		}
		if rng.IntN(10) == 0 {
			sleep(ctx, time.Duration(rng.IntN(30))*time.Millisecond)
		}
	}
}

// confirm keeps the checkpoint. Whether an empty group ends between transactions
// follows from the groups before it, and from the anchor for the first one; an
// older checkpoint says nothing about it.
func (w *world) confirm(ctx context.Context, c *chain.Chain, hint *sink.Hint, exact bool) error {
	next := uint64(0)
	for {
		confirmed, err := c.Wait(ctx)
		if fault.HasCode(err, sink.CodeStreamFull) || fault.HasCode(err, sink.CodeSinkUnreachable) {
			sleep(ctx, 300*time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		for _, k := range confirmed {
			if k.Group.Number != next {
				return fmt.Errorf("group %d confirmed, want %d", k.Group.Number, next)
			}
			next++
			if n := len(k.Group.Messages); n > 0 {
				last := &k.Group.Messages[n-1]
				exact = last.TxLast || last.Place.Tx == ""
			}
			*hint = sink.Hint{Token: k.Token, Position: k.Group.End, Exact: exact}
		}
	}
}

func TestSimulation(t *testing.T) {
	bad := faults{drop: 10, cut: 10, loseAck: 30, crash: 10, stale: 300, delayMaxMS: 20}
	lossy := faults{drop: 10, cut: 30, loseAck: 30, loseTail: 20, delayMaxMS: 20}
	for _, tt := range []struct {
		name    string
		writers int
		f       faults
	}{
		{"one writer, calm", 1, faults{delayMaxMS: 5}},
		{"one writer", 1, bad},
		{"one writer, stream full at times", 1, faults{full: 20, cut: 5, delayMaxMS: 5}},
		{"two writers", 2, bad},
		{"four writers", 4, bad},
		{"one writer, tail lost", 1, faults{loseTail: 10, cut: 10, loseAck: 30, delayMaxMS: 20}},
		{"two writers, tail lost", 2, lossy},
		{"four writers, tail lost", 4, lossy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seeds := uint64(10)
			if testing.Short() {
				seeds = 4
			}
			data, claims, lost := 0, 0, 0
			for seed := range seeds {
				o := simulate(t, seed, tt.writers, tt.f, 20*time.Second)
				if o.wrong != nil || len(o.unknown) > 0 {
					t.Fatalf("seed %d: %v; unexpected: %v", seed, o.wrong, errors.Join(o.unknown...))
				}
				if o.data < 100 {
					t.Errorf("seed %d: only %d messages got through", seed, o.data)
				}
				data, claims, lost = data+o.data, claims+o.claims, lost+o.tailLost
			}
			t.Logf("%d messages, %d claims, %d lost by the broker", data, claims, lost)
		})
	}
}

// A broker that compares the last sequence and nothing else is not enough:
// this is why runs are.
func TestWithoutRunsTheChainBreaks(t *testing.T) {
	f := faults{drop: 10, cut: 30, loseAck: 30, stale: 300, delayMaxMS: 20, noRuns: true}
	for seed := range uint64(100) {
		if o := simulate(t, seed, 4, f, 20*time.Second); o.wrong != nil {
			t.Logf("seed %d: %v", seed, o.wrong)
			return
		}
	}
	t.Error("a broker without runs did no harm: the model does not reach the case that runs are for")
}

// account tells how the first wrong message came about.
func (b *broker) account(f *sinktest.Feed) string {
	var bodies []string
	at := len(b.log)
	for i, m := range b.log {
		if m.heads["Cdc-Kind"] == "" {
			if bodies = append(bodies, m.body); f.Check(bodies) != nil {
				at = i
				break
			}
		}
	}
	text := ""
	for i := max(0, at-14); i < min(len(b.log), at+5); i++ {
		m := b.log[i]
		text += fmt.Sprintf("%d epoch %s %s pos %s base %s | %s\n", i+1, m.heads["Cdc-Epoch"], m.heads["Cdc-Kind"], m.heads["Cdc-Pos"], m.heads["Cdc-Base"], m.by)
	}
	return text + fmt.Sprint("tails lost: ", b.cuts)
}
