package state

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Requests is a pipeline's ledger of the copies of tables that people asked for.
// A record's form is its writer's own.
type Requests struct{ p *Pipeline }

// Requests returns the ledger of requests.
func (p *Pipeline) Requests() *Requests { return &Requests{p} }

// Put makes a record durable before it returns, in place of one that was there,
// and removes others in the same write.
func (r *Requests) Put(id uint64, record []byte, remove ...uint64) error {
	p := r.p
	b := p.s.db.NewBatch()
	err := b.Set(requestKey(p.name, id), append([]byte{valueVersion}, record...), nil)
	for _, id := range remove {
		if err == nil {
			err = b.Delete(requestKey(p.name, id), nil)
		}
	}
	if err != nil {
		return errors.Join(p.s.writeFailed(err), b.Close())
	}
	return p.s.commit(b)
}

// Each calls f for all records, by their numbers. f must not keep record.
func (r *Requests) Each(f func(id uint64, record []byte) error) error {
	prefix := pipelineKey(r.p.name, kindRequest)
	return r.p.s.each(prefix, func(k, v []byte) error {
		k = k[min(len(prefix), len(k)):]
		if len(k) != 8 || len(v) == 0 || v[0] != valueVersion {
			return r.p.s.corrupt(fmt.Errorf("request of %s: %w", r.p.name, errValue))
		}
		return f(binary.BigEndian.Uint64(k), v[1:])
	})
}
