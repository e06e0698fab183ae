package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	// UndoAgeMin is for how long what a batch changed can be taken back after the
	// sink has confirmed it: a broker that syncs lazily may lose its tail.
	UndoAgeMin = 10 * time.Minute
	// UndoBytesMax bounds what a pipeline keeps for that; what is oldest goes first.
	UndoBytesMax = 1 << 30

	trimEvery    = 15 * time.Second
	undoStepSize = 4 << 20 // bytes of one write of a roll-back
)

// Origin is the row that a connector's change was made for.
type Origin struct {
	Tx  string // the transaction
	Row uint64 // the row's ordinal in it
	// Messages is the number of data messages that the sink has when it has all
	// that come before the row's.
	Messages uint64
	// Replay is the number of the replay that the row comes by in; 0 for a row of
	// the log. Tx is then ReplayTx's, and Row 0.
	Replay uint64
}

// Cut is how far delivery has come, as the sink says. Tx empty means that
// everything before Base is delivered and nothing else; otherwise that all
// before row Row of Tx is, or all of Tx where it is Complete.
type Cut struct {
	Base     sdk.Position
	Tx       string
	Row      uint64
	Complete bool
	// Exact says that reading goes on at Base, and not at Tx's first row.
	Exact    bool
	Messages uint64 // data messages delivered
	// Replays is the number of the last replay that is delivered whole.
	Replays uint64
	// Moved says that a person goes to Base: what lies behind it in the log is
	// taken back though it was delivered, replays included.
	Moved bool
}

// counts reports whether a change lies before the cut; of one with a Tx.
func (c *Cut) counts(at Origin) bool {
	if at.Replay > 0 {
		return at.Replay <= c.Replays
	}
	if at.Tx == c.Tx {
		return c.Complete || at.Row < c.Row
	}
	return at.Messages < c.Messages
}

// Values are what a step's connector keeps. It is safe for concurrent use.
type Values struct {
	p      *Pipeline
	step   string
	prefix []byte
}

// Values returns what the step's connector keeps.
func (p *Pipeline) Values(step string) *Values {
	return &Values{p, step, valueKey(p.name, step, nil)}
}

// Get returns a value; ok is false without one.
func (v *Values) Get(key []byte) (value []byte, ok bool, err error) {
	return v.p.value(append(v.prefix[:len(v.prefix):len(v.prefix)], key...))
}

func (p *Pipeline) value(key []byte) (value []byte, ok bool, err error) {
	value, ok, err = p.s.get(key)
	if err == nil && ok && (len(value) == 0 || value[0] != valueVersion) {
		return nil, false, p.s.corrupt(errValue)
	}
	if ok {
		value = value[1:]
	}
	return value, ok, err
}

// errEnough ends an iteration.
var errEnough = errors.New("enough")

// Scan calls f for the keys that begin with prefix and sort behind after, in
// order, until f returns false. The slices are good during the call.
func (v *Values) Scan(prefix, after []byte, f func(key, value []byte) bool) error {
	lower := append(v.prefix[:len(v.prefix):len(v.prefix)], prefix...)
	upper := prefixEnd(lower)
	if bytes.Compare(after, prefix) >= 0 {
		lower = append(append(v.prefix[:len(v.prefix):len(v.prefix)], after...), 0)
	}
	err := v.p.s.within(lower, upper, func(key, value []byte) error {
		if len(value) == 0 || value[0] != valueVersion {
			return v.p.s.corrupt(errValue)
		}
		if !f(key[len(v.prefix):], value[1:]) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Bytes returns the size of all keys and values.
func (v *Values) Bytes() int64 {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	return v.p.used[v.step]
}

// Put adds a connector's value, made for the row. The slices must stay as they
// are until Persist has returned.
func (c *Changes) Put(step string, key, val []byte, at Origin) {
	c.values = append(c.values, value{step: step, key: key, value: val, at: at})
}

// Delete removes a connector's value.
func (c *Changes) Delete(step string, key []byte, at Origin) {
	c.values = append(c.values, value{step: step, key: key, gone: true, at: at})
}

// End says where the batch ends: at an exact position, or inside a transaction.
// always asks for a record of it even when the batch changes nothing: behind a
// part of a transaction that did.
func (c *Changes) End(pos sdk.Position, exact, always bool) {
	c.end, c.exact, c.always = pos, exact, always
}

// Changed returns the number of the last batch that changed a connector's
// values, and whether that batch ended inside a transaction.
func (p *Pipeline) Changed() (number uint64, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changes, p.open
}

// stage adds the connectors' changes to the write, with what takes them back.
func (p *Pipeline) stage(b *pebble.Batch, c *Changes, letters []entry) (*record, error) {
	if len(c.values) == 0 && len(letters) == 0 && !c.always {
		return nil, nil
	}
	rec := &record{time: p.s.opts.Now(), exact: c.exact, end: c.end, entries: letters}
	now := map[string]entry{} // what this write has left behind, by key
	for _, v := range c.values {
		key := valueKey(p.name, v.step, v.key)
		e := entry{step: v.step, key: v.key, at: v.at}
		if before, written := now[string(key)]; written {
			e.had, e.prior = before.had, before.prior
		} else {
			var err error
			if e.prior, e.had, err = p.value(key); err != nil {
				return nil, err
			}
		}
		e.grown = -e.size(e.had, e.prior) + e.size(!v.gone, v.value)
		rec.entries = append(rec.entries, e)
		now[string(key)] = entry{had: !v.gone, prior: v.value}
		if err := setValue(b, key, v.value, v.gone); err != nil {
			return nil, p.s.writeFailed(err)
		}
	}
	encoded, err := rec.measured()
	if err != nil {
		return nil, p.s.corrupt(err)
	}
	used := map[string]int64{}
	for i := len(letters); i < len(rec.entries); i++ {
		used[rec.entries[i].step] += rec.entries[i].grown
	}
	err = b.Set(undoKey(p.name, p.changes+1), encoded, nil)
	return rec, errors.Join(err, p.stageUsed(b, used))
}

func setValue(b *pebble.Batch, key, val []byte, gone bool) error {
	if gone {
		return b.Delete(key, nil)
	}
	return b.Set(key, append([]byte{valueVersion}, val...), nil)
}

// stageUsed adds what the steps then keep; used is by how much they grow.
func (p *Pipeline) stageUsed(b *pebble.Batch, used map[string]int64) error {
	for step, grown := range used {
		v := binary.AppendVarint([]byte{valueVersion}, p.used[step]+grown)
		if err := b.Set(usedKey(p.name, step), v, nil); err != nil {
			return p.s.writeFailed(err)
		}
	}
	return nil
}

// changed takes note of a write that stage made and that is durable now.
func (p *Pipeline) changed(rec *record) {
	if rec == nil {
		return
	}
	p.changes++
	p.open = !rec.exact
	p.undo += rec.bytes
	for i := range rec.entries {
		if e := &rec.entries[i]; e.grown != 0 {
			p.used[e.step] += e.grown
		}
	}
}

// RollBack takes back what connectors changed for rows that were not delivered:
// those behind the cut. covers reports whether everything before a position is
// delivered, and is asked where the cut is exact. It returns how many changes
// were taken back. The error is CodeHistoryGone where they are no longer known.
func (p *Pipeline) RollBack(cut Cut, covers func(end sdk.Position) (bool, error)) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changes == 0 {
		return 0, nil
	}
	from, err := p.firstBehind(&cut, covers)
	if err != nil || from > p.changes {
		return 0, err
	}
	return p.undoFrom(from, &cut)
}

// whole reports whether all of a record counts; of a cut without a Tx.
func (c *Cut) whole(rec *record, covers func(sdk.Position) (bool, error)) (bool, error) {
	if len(rec.entries) > 0 && rec.entries[0].at.Replay > 0 && !c.Moved {
		return c.counts(rec.entries[0].at), nil
	}
	if !rec.exact {
		return false, nil
	}
	return covers(rec.end)
}

// firstBehind returns the number of the first record of which something lies
// behind the cut.
func (p *Pipeline) firstBehind(cut *Cut, covers func(sdk.Position) (bool, error)) (uint64, error) {
	from := p.changes + 1
	kept := false // there is something that counts
	err := p.eachUndo(func(n uint64, rec *record) error {
		whole := cut.Tx != ""
		if cut.Tx == "" {
			ok, err := cut.whole(rec, covers)
			if err != nil {
				return err
			}
			if kept = ok; ok {
				return errEnough
			}
			from = n
			return nil
		}
		for i := range rec.entries {
			if cut.counts(rec.entries[i].at) {
				kept = true
			} else {
				whole = false
			}
		}
		if !whole {
			from = n
		}
		if kept {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if !kept && p.trimmed {
		return 0, fault.New(fault.Environment, CodeHistoryGone, p.name,
			"restore the sink as it was; or begin anew: give the pipeline and its sink new names",
			"the sink stands before everything that the steps' kv can be taken back to: it lost messages of more than %v", UndoAgeMin)
	}
	return from, nil
}

// undoFrom takes back records, the newest first, down to the one with the
// number, of which it keeps what counts.
func (p *Pipeline) undoFrom(from uint64, cut *Cut) (undone int, err error) {
	b, used, bytes := p.s.db.NewIndexedBatch(), map[string]int64{}, int64(0)
	changes, open := p.changes, p.open
	var letters []func()
	flush := func() error {
		if err := errors.Join(p.stageUsed(b, used), p.s.commit(b)); err != nil {
			return err
		}
		for _, then := range letters {
			then()
		}
		letters = nil
		for step, grown := range used {
			p.used[step] += grown
		}
		p.changes, p.open, p.undo = changes, open, p.undo+bytes
		b, used, bytes = p.s.db.NewIndexedBatch(), map[string]int64{}, 0
		return nil
	}
	err = p.eachUndo(func(n uint64, rec *record) error {
		if n < from {
			open = open || !rec.exact
			return errEnough
		}
		var kept []entry
		for i := len(rec.entries) - 1; i >= 0; i-- {
			e := &rec.entries[i]
			if cut.Tx != "" && cut.counts(e.at) {
				kept = append(kept, *e)
				continue
			}
			if k, ok := e.letter(); ok {
				then, err := p.undoLetter(b, e, k)
				if err != nil {
					return err
				}
				letters = append(letters, then)
				continue
			}
			if err := setValue(b, valueKey(p.name, e.step, e.key), e.prior, !e.had); err != nil {
				return p.s.writeFailed(err)
			}
			used[e.step] -= e.grown
			undone++
		}
		bytes -= rec.bytes
		changes, open = n-1, false
		if len(kept) > 0 {
			rec.keep(kept, cut)
			changes, open = n, !rec.exact
			v, merr := rec.measured()
			bytes += rec.bytes
			err = errors.Join(merr, b.Set(undoKey(p.name, n), v, nil))
		} else {
			err = b.Delete(undoKey(p.name, n), nil)
		}
		if err != nil {
			return p.s.writeFailed(err)
		}
		if b.Len() > undoStepSize {
			return flush()
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return undone, errors.Join(err, b.Close())
	}
	return undone, flush()
}

// eachUndo calls f for the records, the newest first.
func (p *Pipeline) eachUndo(f func(n uint64, rec *record) error) error {
	prefix := pipelineKey(p.name, kindUndo)
	return p.s.back(prefix, func(key, v []byte) error {
		if len(key) != len(prefix)+8 {
			return p.s.corrupt(errKey)
		}
		rec, err := decodeRecord(append([]byte(nil), v...))
		if err != nil {
			return p.s.corrupt(fmt.Errorf("kv history of %s: %w", p.name, err))
		}
		return f(binary.BigEndian.Uint64(key[len(prefix):]), rec)
	})
}

// trim adds to the write that what is old enough can't be taken back any more:
// records up to the one with the number, which is confirmed. The newest of them
// stays, and says from where on history is known.
func (p *Pipeline) trim(b *pebble.Batch, confirmed uint64) error {
	now := p.s.opts.Now()
	over := p.undo > p.s.opts.UndoBytesMax
	if p.changes == 0 || !over && now.Sub(p.trimmedAt) < trimEvery {
		return nil
	}
	p.trimmedAt = now
	prefix := pipelineKey(p.name, kindUndo)
	var floor []byte
	var size, freed int64
	var bodies, more []body      // of what is freed, and of the record that was looked at last
	values, last := false, false // of connectors are among what is freed, in the record that was looked at last
	err := p.s.each(prefix, func(key, v []byte) error {
		at, err := recordTime(v)
		if err != nil || len(key) != len(prefix)+8 {
			return p.s.corrupt(errors.Join(errKey, err))
		}
		if binary.BigEndian.Uint64(key[len(prefix):]) > confirmed ||
			now.Sub(at) < UndoAgeMin && p.undo-freed <= p.s.opts.UndoBytesMax {
			return errEnough
		}
		rec, err := decodeRecord(v)
		if err != nil {
			return p.s.corrupt(err)
		}
		values = values || last // the one before is freed
		bodies = append(bodies, more...)
		if more, err = rec.owned(); err != nil {
			return p.s.corrupt(err)
		}
		last = slices.ContainsFunc(rec.entries, func(e entry) bool { _, letter := e.letter(); return !letter })
		floor = append(floor[:0], key...)
		freed += size
		size = rec.bytes
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || freed == 0 {
		if errors.Is(err, errEnough) {
			err = nil
		}
		return err
	}
	if err := p.deleteBodies(b, bodies...); err != nil {
		return err
	}
	err = b.DeleteRange(prefix, floor, nil)
	if err == nil && values { // dead letters that are too old to be taken back just stay
		err = b.Set(trimmedKey(p.name), []byte{valueVersion}, nil)
	}
	if err != nil {
		return p.s.writeFailed(err)
	}
	p.undo -= freed
	p.trimmed = p.trimmed || values
	return nil
}

// countChanges finds out what an opened store has.
func (p *Pipeline) countChanges() error {
	p.used = map[string]int64{}
	prefix := pipelineKey(p.name, kindUsed)
	err := p.s.each(prefix, func(key, v []byte) error {
		step, _, err := cutText(key[len(prefix):])
		if err != nil || len(v) == 0 || v[0] != valueVersion {
			return p.s.corrupt(errors.Join(errValue, err))
		}
		n, k := binary.Varint(v[1:])
		if k <= 0 {
			return p.s.corrupt(errValue)
		}
		p.used[step] = n
		return nil
	})
	if err != nil {
		return err
	}
	prefix = pipelineKey(p.name, kindUndo)
	err = p.s.each(prefix, func(key, v []byte) error {
		rec, err := decodeRecord(v)
		if err != nil || len(key) != len(prefix)+8 {
			return p.s.corrupt(errors.Join(errKey, err))
		}
		p.changes = binary.BigEndian.Uint64(key[len(prefix):])
		p.undo += rec.bytes
		p.open = !rec.exact
		return nil
	})
	if err != nil {
		return err
	}
	_, p.trimmed, err = p.s.get(trimmedKey(p.name))
	return err
}
