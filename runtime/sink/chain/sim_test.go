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
	kind chain.Config // of runs

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
func simulate(t *testing.T, seed uint64, writers int, kind chain.Config, f faults, duration time.Duration) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{b: newBroker(seed, f), kind: kind, feed: &sinktest.Feed{Subject: "cdc.p.d.t", Control: "cdc.p._cdcd"}}
		inPieces := 0
		w.b.stored = func() {
			if last := w.b.log[len(w.b.log)-1].heads; last["Cdc-Tx-Last"] == "" && last["Cdc-Pos"] != "-" {
				inPieces++
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), duration)
		defer cancel()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { w.write(ctx, &wg, seed, strconv.Itoa(i)) })
		}
		wg.Wait()
		var bodies []string
		seen := map[string]string{} // of a shared stream: body to Cdc-Seq
		for i, m := range w.b.log {
			if kind.Shared && m.heads["Cdc-Kind"] == "" {
				seq := m.heads["Cdc-Seq"]
				if have, again := seen[m.body]; again && have != seq && o.wrong == nil {
					o.wrong = fmt.Errorf("message %d has Cdc-Seq %s, and had %s before", i+1, seq, have)
				} else if again {
					continue
				}
				seen[m.body] = seq
			}
			if m.heads["Cdc-Kind"] == "" {
				bodies = append(bodies, m.body)
			}
			if kind.Shared {
				continue
			}
			if m.heads["Cdc-Seq"] != strconv.Itoa(len(bodies)) && o.wrong == nil {
				o.wrong = fmt.Errorf("message %d has Cdc-Seq %s behind %d data messages", i+1, m.heads["Cdc-Seq"], len(bodies))
			}
		}
		if err := w.feed.Check(bodies); err != nil {
			o.wrong = fmt.Errorf("%w\n%s", err, w.b.account(w.feed))
		}
		if kind.WholeTx && f.loseTail+f.torn == 0 && inPieces > 0 && o.wrong == nil {
			o.wrong = fmt.Errorf("readers saw part of a transaction %d times", inPieces)
		}
		if w.lost > 0 && f.loseTail+f.torn == 0 && o.wrong == nil {
			o.wrong = fmt.Errorf("%d messages were confirmed and are lost, by a broker that loses none", w.lost)
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
			Shared: w.kind.Shared, Latest: w.kind.Latest, Atomic: w.kind.Atomic, WholeTx: w.kind.WholeTx,
			WindowMessages: 100, AckTimeout: time.Second, Patience: 3 * time.Second}, l)
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
		fault.HasCode(err, sink.CodeStreamRollback) && w.b.f.loseTail+w.b.f.torn > 0
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
	err = w.confirm(run, c, hint, a)
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
func (w *world) confirm(ctx context.Context, c *chain.Chain, hint *sink.Hint, a sink.Anchor) error {
	next, exact, messages := uint64(0), a.At.Tx == "", a.Messages
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
			if !w.b.stores(k.Group) {
				return fmt.Errorf("group %d was confirmed, and is not in the stream", k.Group.Number)
			}
			if n := len(k.Group.Messages); n > 0 {
				last := &k.Group.Messages[n-1]
				exact = last.TxLast || last.Place.Tx == ""
			}
			for i := range k.Group.Messages {
				if k.Group.Messages[i].Kind == sink.KindData {
					messages++
				}
			}
			*hint = sink.Hint{Token: k.Token, Position: k.Group.End, Exact: exact, Messages: messages}
		}
	}
}

func TestSimulation(t *testing.T) {
	bad := faults{drop: 10, cut: 10, loseAck: 30, crash: 10, stale: 300, reconnect: 10, late: 10, delayMaxMS: 20}
	lossy := faults{drop: 10, cut: 30, loseAck: 30, loseTail: 20, reconnect: 10, late: 10, delayMaxMS: 20}
	torn := lossy
	torn.torn = 30
	for _, tt := range []struct {
		name    string
		writers int
		f       faults
	}{
		{"one writer, calm", 1, faults{delayMaxMS: 5}},
		{"one writer", 1, bad},
		{"one writer, connections replaced, answers late", 1, faults{reconnect: 60, late: 30, loseAck: 100, delayMaxMS: 20}},
		{"one writer, stream full at times", 1, faults{full: 20, cut: 5, delayMaxMS: 5}},
		{"two writers", 2, bad},
		{"four writers", 4, bad},
		{"one writer, tail lost", 1, faults{loseTail: 10, torn: 30, cut: 10, loseAck: 30, delayMaxMS: 20}},
		{"two writers, tail lost", 2, lossy},
		{"four writers, tail lost", 4, torn},
	} {
		for _, kind := range []struct {
			name string
			conf chain.Config
		}{{"flowing", chain.Config{}}, {"shared", chain.Config{Shared: true}}, {"latest", chain.Config{Latest: true}}, {"atomic", chain.Config{Atomic: true}}, {"whole transactions", chain.Config{Atomic: true, WholeTx: true}}} {
			f := tt.f
			f.latest = kind.conf.Latest
			if kind.conf.Shared && f.loseTail > 0 {
				continue // what was confirmed is gone, and nobody notices
			}
			t.Run(kind.name+", "+tt.name, func(t *testing.T) {
				seeds := uint64(4)
				if testing.Short() {
					seeds = 1
				}
				data, claims, lost := 0, 0, 0
				for seed := range seeds {
					o := simulate(t, seed, tt.writers, kind.conf, f, 20*time.Second)
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
}

// A broker that compares the last sequence and nothing else is not enough:
// this is why runs are.
func TestWithoutRunsTheChainBreaks(t *testing.T) {
	f := faults{drop: 10, cut: 30, loseAck: 30, stale: 300, delayMaxMS: 20, noRuns: true}
	for seed := range uint64(100) {
		if o := simulate(t, seed, 4, chain.Config{}, f, 20*time.Second); o.wrong != nil {
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
