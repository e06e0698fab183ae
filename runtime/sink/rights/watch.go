package rights

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// reopenMax is how long connecting anew may take.
const reopenMax = 5 * time.Second

// Watch takes what a server refuses to whoever asked for it. The zero Watch is
// ready; Over says which connection it is of. It may be used from any goroutine.
type Watch struct {
	// Tell, when set, is called with each Denial, from the connection's goroutine.
	Tell func(*Denial)

	mu   sync.Mutex
	nc   *nats.Conn
	asks []*ask
	deaf *Denial // answers don't come: the server ended the subscription to them
	at   uint64  // how often nc had reconnected then
}

// ask is a request that is on its way.
type ask struct {
	subjects []string // what it publishes to; "a.b." stands for all that begins so
	cancel   context.CancelCauseFunc
}

// Over watches a connection from here on. Its error handler stays in place behind
// the Watch.
func (w *Watch) Over(nc *nats.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nc == nc {
		return
	}
	w.nc, w.deaf = nc, nil
	if d, ok := Parse(nc.LastError()); ok && d.Subscribe { // before anybody watched
		w.deaf, w.at = d, nc.Stats().Reconnects
	}
	before := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if before != nil {
			before(nc, sub, err)
		}
		if d, ok := Parse(err); ok {
			w.denied(nc, d)
		}
	})
}

func (w *Watch) denied(nc *nats.Conn, d *Denial) {
	w.mu.Lock()
	if nc != w.nc {
		w.mu.Unlock()
		return
	}
	if d.Subscribe {
		w.deaf, w.at = d, nc.Stats().Reconnects
	}
	for _, a := range w.asks {
		if d.Subscribe || slices.ContainsFunc(a.subjects, func(s string) bool {
			return s == d.Subject || strings.HasSuffix(s, ".") && strings.HasPrefix(d.Subject, s)
		}) {
			a.cancel(d)
		}
	}
	w.mu.Unlock()
	if w.Tell != nil {
		w.Tell(d)
	}
}

// Ask calls f, which asks the server for something by publishing to the given
// subjects, one that ends with a dot standing for all that begin with it. A
// refusal ends f's context, and is returned as a *Denial.
func (w *Watch) Ask(ctx context.Context, subjects []string, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &ask{subjects, cancel}
	w.mu.Lock()
	if d := w.deafNow(); d != nil {
		w.mu.Unlock()
		return d
	}
	w.asks = append(w.asks, a)
	w.mu.Unlock()
	err := f(ctx)
	w.mu.Lock()
	w.asks = slices.DeleteFunc(w.asks, func(b *ask) bool { return a == b })
	w.mu.Unlock()
	if d, ok := errors.AsType[*Denial](context.Cause(ctx)); ok && err != nil {
		return d
	}
	return err
}

// deafNow returns why no answer comes; nil when answers come. It is called with
// mu held.
func (w *Watch) deafNow() *Denial {
	if w.deaf != nil && w.nc.Stats().Reconnects != w.at {
		w.deaf = nil // the connection is another one, and has subscribed anew
	}
	return w.deaf
}

// Reopen makes the connection anew if answers can't come on it: a subscription
// that the server has refused or ended does not come back by itself when the
// right is granted.
func (w *Watch) Reopen(ctx context.Context) error {
	w.mu.Lock()
	nc, deaf := w.nc, w.deafNow()
	w.mu.Unlock()
	if deaf == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, reopenMax, fmt.Errorf("no connection within %v", reopenMax))
	defer cancel()
	before := nc.Stats().Reconnects
	if err := nc.ForceReconnect(); err != nil {
		return err
	}
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for nc.Stats().Reconnects == before || !nc.IsConnected() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
