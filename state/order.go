package state

import (
	"errors"
	"fmt"
	"time"
)

// MoveOrder is what a person wants to be done with a pipeline's position when it
// starts next.
type MoveOrder struct {
	// To is the place, as the source understands it.
	To string `json:"to"`
	// Back says that it must lie before where delivery stands.
	Back bool      `json:"back"`
	Time time.Time `json:"time"`
}

// OrderMove makes an order durable, in place of one that was there.
func (p *Pipeline) OrderMove(o MoveOrder) error {
	v, err := encodeJSON(&o)
	if err != nil {
		return p.s.writeFailed(err)
	}
	return p.set(pipelineKey(p.name, kindOrder), v)
}

// MoveOrdered returns the order that is not carried out yet.
func (p *Pipeline) MoveOrdered() (o MoveOrder, ok bool, err error) {
	v, ok, err := p.s.get(pipelineKey(p.name, kindOrder))
	if err != nil || !ok {
		return o, false, err
	}
	if err := decodeJSON(v, &o); err != nil {
		return o, false, p.s.corrupt(fmt.Errorf("order of %s: %w", p.name, err))
	}
	return o, true, nil
}

// MoveDone takes the order away, and makes the checkpoint that it has led to
// durable in the same write; without one, the order was refused.
func (p *Pipeline) MoveDone(c *Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.s.db.NewBatch()
	err := b.Delete(pipelineKey(p.name, kindOrder), nil)
	if err == nil && c != nil {
		c.Schemas = p.schemas
		var v []byte
		if v, err = encodeJSON(c); err == nil {
			err = b.Set(pipelineKey(p.name, kindCheckpoint), v, nil)
		}
	}
	if err != nil {
		return errors.Join(p.s.writeFailed(err), b.Close())
	}
	return p.s.commit(b)
}
