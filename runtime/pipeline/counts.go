package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// A transaction with more subjects than this, or with longer ones together, ends
// with its totals alone.
const (
	subjectsMax      = 1000
	subjectBytesMax  = 256 << 10
	subjectsOverhead = 24 // of each in a tx_end: quotes, a number, a comma
)

// recountTold is how often a long recount says how far it is.
const recountTold = 2 * time.Second

// counts are how many messages a transaction that comes in parts has given on
// each subject. Nothing is allocated but for a subject that is new.
type counts struct {
	by      map[string]*uint64
	bytes   int
	leftOut string // why by does not tell: one of format's
}

func (c *counts) reset() {
	clear(c.by)
	c.bytes, c.leftOut = 0, ""
}

func (c *counts) add(subject string) {
	if n := c.by[subject]; n != nil {
		*n++
	} else {
		c.another(subject)
	}
}

// addView is add for a text that changes later.
func (c *counts) addView(subject []byte) {
	if n := c.by[string(subject)]; n != nil {
		*n++
	} else if c.leftOut == "" {
		c.another(string(subject))
	}
}

func (c *counts) another(subject string) {
	if c.leftOut != "" {
		return
	}
	if c.bytes += len(subject) + subjectsOverhead; len(c.by) == subjectsMax || c.bytes > subjectBytesMax {
		c.leave(format.SubjectsTooMany)
		return
	}
	if c.by == nil {
		c.by = map[string]*uint64{}
	}
	c.by[subject] = new(uint64(1))
}

// leave notes why the counts are not told.
func (c *counts) leave(why string) {
	clear(c.by)
	c.leftOut = why
}

// countSince counts the messages of rows from the group's message first on.
func (r *renderer) countSince(first int) {
	for i := first; i < len(r.g.Messages); i++ {
		m := &r.g.Messages[i]
		switch routed := r.g.routed[i]; {
		case m.Kind != sink.KindData:
		case routed.to > routed.from:
			r.counts.addView(r.texts[routed.from:routed.to])
		default:
			r.counts.add(m.Subject)
		}
	}
}

// recount makes the counts of the transaction that delivery stands inside of what
// the sink has of it: its rows up to there are not run again.
func (a *attempt) recount(ctx context.Context, anchor sink.Anchor) error {
	c := &a.render.counts
	teller, ok := a.p.spec.Sink.(sink.Recounter)
	if anchor.At.Tx == "" || anchor.Complete {
		return nil
	}
	if !ok {
		c.leave(format.SubjectsNotKnown)
		return nil
	}
	p, all := a.p, anchor.At.N+1
	began, done := p.spec.Now(), uint64(0)
	told := began
	complete, err := teller.Recount(ctx, anchor, func(subject string) {
		c.add(subject)
		if done++; done%4096 == 0 && p.spec.Now().Sub(told) > recountTold {
			told = p.spec.Now()
			p.set(StateStarting, fmt.Sprintf("counts what is delivered of transaction %s: %d of %d messages", anchor.At.Tx, done, all), nil)
		}
	})
	if err != nil {
		return err
	}
	if !complete {
		c.leave(format.SubjectsNotKnown)
	}
	p.log.Info("counted what is delivered of the transaction", "tx", anchor.At.Tx, "messages", done, "all", complete, "took", p.spec.Now().Sub(began))
	return nil
}
