package state

import (
	"encoding/binary"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Dead letters are taken back with what connectors keep: a row that delivery had not
// come to is read again, maybe by other steps, and may then come through. So a
// batch's record has an entry for each letter that it added, wrote over or took away.

// letterStep begins the step of an entry that is of a dead letter; no step's name
// has it. The entry's key is the letter's transaction and row.
const letterStep = "\x00letter/"

func letterEntry(k DeadLetterKey, at Origin, had bool, prior []byte) entry {
	return entry{step: letterStep + k.Step, key: append(binary.BigEndian.AppendUint64(nil, k.Row), k.Tx...), at: at, had: had, prior: prior}
}

// letter returns which dead letter the entry is of; ok is false for a connector's
// value.
func (e *entry) letter() (k DeadLetterKey, ok bool) {
	step, ok := strings.CutPrefix(e.step, letterStep)
	if !ok || len(e.key) < 8 {
		return k, false
	}
	return DeadLetterKey{step, string(e.key[8:]), binary.BigEndian.Uint64(e.key)}, true
}

// letterWrite is what a write does to dead letters.
type letterWrite struct {
	added []int // not on record yet, by their place in Changes.dead
	gone  []DeadLetterKey
	undo  []entry
}

// stageDeadLetters adds the refused rows to the write, and takes those away that
// were replayed.
func (p *Pipeline) stageDeadLetters(b *pebble.Batch, c *Changes, marked map[DeadLetterKey]string) (w letterWrite, err error) {
	own, last := map[DeadLetterKey]bool{}, map[DeadLetterKey]int{}
	for i := range c.dead {
		last[c.dead[i].DeadLetterKey] = i
	}
	for i := range c.dead {
		d := &c.dead[i]
		key := deadLetterKey(p.name, d.DeadLetterKey)
		prior, known, err := p.s.get(key)
		if err != nil {
			return w, err
		}
		if !own[d.DeadLetterKey] {
			w.undo = append(w.undo, letterEntry(d.DeadLetterKey, c.origins[i], known, prior))
			if !known {
				w.added = append(w.added, i)
				if p.news != nil {
					if err := b.Set(outboxKey(p.name, d.DeadLetterKey), []byte{valueVersion}, nil); err != nil {
						return w, p.s.writeFailed(err)
					}
				}
			}
		}
		own[d.DeadLetterKey] = true
		if last[d.DeadLetterKey] != i {
			continue
		}
		if d.body, err = p.stageBody(b, c.rows[i]); err != nil {
			return w, err
		}
		if err := b.Set(key, encodeLetter(d), nil); err != nil {
			return w, p.s.writeFailed(err)
		}
	}
	for _, k := range c.replayed {
		if own[k] { // refused again
			continue
		}
		own[k] = true
		prior, known, err := p.s.get(deadLetterKey(p.name, k))
		if err != nil {
			return w, err
		}
		if !known { // purged meanwhile
			continue
		}
		w.gone = append(w.gone, k)
		w.undo = append(w.undo, letterEntry(k, c.replay, true, prior))
		if err := p.deleteLetter(b, k); err != nil {
			return w, err
		}
	}
	if err := p.admit(c, w.added); err != nil {
		return w, err
	}
	if n := c.replay.Replay; n > p.replays {
		if err := b.Set(replaysKey(p.name), binary.AppendUvarint([]byte{valueVersion}, n), nil); err != nil {
			return w, p.s.writeFailed(err)
		}
	}
	return w, p.stageMarked(b, marked, own)
}

// deleteLetter takes a letter's record away; what becomes of its body is the caller's.
func (p *Pipeline) deleteLetter(b *pebble.Batch, k DeadLetterKey) error {
	err := b.Delete(deadLetterKey(p.name, k), nil)
	if err == nil {
		err = b.Delete(outboxKey(p.name, k), nil)
	}
	if err != nil {
		return p.s.writeFailed(err)
	}
	return nil
}

// lettersChanged takes note of a write that is durable now.
func (p *Pipeline) lettersChanged(c *Changes, w *letterWrite, marked map[DeadLetterKey]string) {
	for k := range marked {
		if r := p.letters.refs[k]; r != nil {
			r.changed = true
		}
	}
	for _, i := range w.added {
		p.dead[c.dead[i].Step]++
	}
	for i := range c.dead {
		p.letters.put(&c.dead[i])
	}
	for _, k := range w.gone {
		p.dead[k.Step]--
		p.letters.drop(k)
	}
	if len(w.added) > 0 {
		p.tell()
	}
}

// Replays returns the highest number that a replay of this pipeline has had, whether
// the sink has it or not: none is given twice.
func (p *Pipeline) Replays() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replays
}

// undoLetter adds to the write what takes an entry of a dead letter back, and
// returns what to do once it is durable. The batch is one that can be read: the letter
// may have come about in it.
func (p *Pipeline) undoLetter(b *pebble.Batch, e *entry, k DeadLetterKey) (then func(), err error) {
	v, ok, err := p.s.read(b, deadLetterKey(p.name, k))
	if err != nil {
		return nil, err
	}
	if ok {
		d, err := cutLetter(v)
		if err != nil {
			return nil, p.badLetter(k, err)
		}
		if err := p.deleteBodies(b, d.body); err != nil {
			return nil, err
		}
	}
	if !e.had {
		return func() {
			if p.letters.refs[k] != nil {
				p.dead[k.Step]--
				p.letters.drop(k)
			}
		}, p.deleteLetter(b, k)
	}
	prior := append([]byte(nil), e.prior...)
	d, err := p.openHeader(k, prior)
	if err != nil {
		return nil, err
	}
	if err := b.Set(deadLetterKey(p.name, k), prior, nil); err != nil {
		return nil, p.s.writeFailed(err)
	}
	return func() {
		if p.letters.refs[k] == nil {
			p.dead[k.Step]++
		}
		p.letters.put(&d)
	}, nil
}
