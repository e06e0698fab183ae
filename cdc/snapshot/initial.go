package snapshot

import (
	"context"
	"errors"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
)

// Run copies what the cursor has not got of what the configuration asks for, and
// returns once all of it is handed on, or with the first error that no other
// connection mends. While Options.Ledger has it paused, it rests.
func (c *Copier) Run(ctx context.Context) error {
	err := c.run(ctx)
	if r, ok := errors.AsType[*refused](err); ok {
		return r.error
	}
	return err
}

func (c *Copier) run(ctx context.Context) error {
	if c.Complete() {
		if err := c.boundary(ctx, nil); err != nil {
			return err
		}
		c.mu.Unlock()
		c.last()
		return nil
	}
	for {
		changed, err := c.pausedBySomebody(ctx)
		if err != nil {
			return err
		}
		if changed == nil {
			over, err := c.initial(ctx)
			if over || err != nil {
				return err
			}
			continue
		}
		c.pause(whyPaused)
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.pause("")
	}
}

// whyPaused is what Progress tells of a copy that rests.
const whyPaused = "somebody has paused it"

// pausedBySomebody brings ledger and cursor together about the copy that the
// configuration asks for, and returns what is closed when there is something new
// for one that is to rest; nil for one that is to go on. A pause that the ledger
// knows nothing of is one of a state that is lost.
func (c *Copier) pausedBySomebody(ctx context.Context) (changed <-chan struct{}, err error) {
	if c.o.Ledger == nil {
		return nil, nil
	}
	paused, changed := restsIn(c.o.Ledger)
	c.mu.Lock()
	known := c.cursor.Paused
	c.mu.Unlock()
	if known && !paused {
		if _, err := c.o.Ledger.Found(cdc.SnapshotRequest{Paused: true}); err != nil {
			return nil, err
		}
		paused, changed = restsIn(c.o.Ledger)
	}
	err = c.alter(ctx, func(cur *Cursor) (*cdc.SnapshotNews, bool) {
		was := cur.Paused
		cur.Paused = paused
		return nil, was != paused
	})
	if !paused {
		changed = nil
	}
	return changed, err
}

// restsIn asks a ledger whether the copy that the configuration asks for is to rest.
func restsIn(l cdc.SnapshotLedger) (paused bool, changed <-chan struct{}) {
	asked, changed := l.Pending()
	return slices.ContainsFunc(asked, func(a cdc.SnapshotRequest) bool { return a.ID == 0 && a.Paused }), changed
}

// initial works on the copy that the configuration asks for, until it is over or
// is to rest.
func (c *Copier) initial(ctx context.Context) (over bool, err error) {
	if err := c.alter(ctx, func(cur *Cursor) (*cdc.SnapshotNews, bool) {
		news := cur.news(cdc.SnapshotBegun, c.o.Patterns)
		cur.Told = cur.Told || news != nil
		return news, news != nil
	}); err != nil {
		return false, err
	}
	work, rest := context.WithCancelCause(ctx)
	watching := make(chan struct{})
	go func() { // ends with work
		defer close(watching)
		for c.o.Ledger != nil {
			paused, changed := restsIn(c.o.Ledger)
			if paused {
				rest(errRest)
				return
			}
			select {
			case <-changed:
			case <-work.Done():
				return
			}
		}
	}()
	err = c.copy(work, task{life: ctx})
	rests := errors.Is(context.Cause(work), errRest)
	rest(nil)
	<-watching
	_, cut := errors.AsType[*refused](err)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err != nil && (cut || !rests):
		return false, err
	case err != nil:
		return false, nil
	}
	return true, c.finish(ctx)
}

// Complete reports whether all tables of the patterns are copied.
func (c *Copier) Complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor.Complete(c.o.Patterns)
}

// finish says in the cursor that everything is copied.
func (c *Copier) finish(ctx context.Context) error {
	if err := c.boundary(ctx, nil); err != nil {
		return err
	}
	defer c.last()
	news := c.cursor.news(cdc.SnapshotEnded, c.o.Patterns)
	c.cursor.For, c.cursor.Done, c.cursor.Told = slices.Clone(c.o.Patterns), nil, false
	c.setCursor()
	c.mu.Unlock()
	c.o.Log.Info("snapshot complete")
	return c.tell(ctx, news)
}

// last gives the turn back, unless nothing may follow.
func (c *Copier) last() {
	if !c.o.Last {
		c.turn.give()
	}
}

// notAnyMore gives up a copy that the configuration has asked for and does not ask
// for any more. One that it asks for again begins anew.
func (c *Copier) notAnyMore(ctx context.Context) error {
	if !c.o.Dormant {
		return nil
	}
	return c.alter(ctx, func(cur *Cursor) (*cdc.SnapshotNews, bool) {
		news := cur.news(cdc.SnapshotCancelled, c.o.Patterns)
		begun := news != nil || cur.Paused || len(cur.Open)+len(cur.Done) > 0
		cur.Work, cur.Paused = Work{}, false
		return news, begun
	})
}

// news is what is told of the copy that the configuration asks for; nil for what
// is known, and for one that is a run, of which the pipeline tells.
func (c *Cursor) news(e cdc.SnapshotEvent, patterns []string) *cdc.SnapshotNews {
	if c.Run != nil || c.Told == (e == cdc.SnapshotBegun) {
		return nil
	}
	return &cdc.SnapshotNews{Event: e, Tables: slices.Clone(patterns)}
}
