package state

import (
	"errors"
)

// Dead letters that are also published go through an outbox: a note for each that
// is new, in the write that keeps it. It stays until the other side has it, so a
// crash publishes again what it may have published, under the same id.

// Outbox makes Persist note new dead letters as to be published, from now on, and
// returns a channel that has something when there are such.
func (p *Pipeline) Outbox() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news == nil {
		p.news = make(chan struct{}, 1)
	}
	return p.news
}

// tell says that there is something in the outbox; with p.mu held.
func (p *Pipeline) tell() {
	select {
	case p.news <- struct{}{}:
	default: // said already, or nobody listens
	}
}

// unpublishedBytesMax is the size from which on Unpublished adds no further letter.
const unpublishedBytesMax = 32 << 20

// Unpublished returns at most limit dead letters that are to be published; fewer where
// they are large.
func (p *Pipeline) Unpublished(limit int) (letters []DeadLetter, err error) {
	var keys []DeadLetterKey
	prefix := pipelineKey(p.name, kindOutbox)
	err = p.s.each(prefix, func(key, _ []byte) error {
		step, tx, row, err := cutDeadLetter(key[len(prefix):])
		if err != nil {
			return p.s.corrupt(err)
		}
		if len(keys) == limit {
			return errEnough
		}
		keys = append(keys, DeadLetterKey{step, tx, row})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	size := 0
	for _, k := range keys {
		if size >= unpublishedBytesMax {
			break
		}
		d, ok, err := p.DeadLetter(k)
		if err != nil {
			return nil, err
		}
		if ok { // a purge takes both away
			letters = append(letters, d)
			size += d.Bytes
		}
	}
	return letters, nil
}

// Published takes dead letters out of the outbox, in one synced write.
func (p *Pipeline) Published(letters []DeadLetter) error {
	b := p.s.db.NewBatch()
	for i := range letters {
		if err := b.Delete(outboxKey(p.name, letters[i].DeadLetterKey), nil); err != nil {
			return p.s.writeFailed(err)
		}
	}
	return p.s.commit(b)
}
