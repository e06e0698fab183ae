package state

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cdcd-io/cdcd/sdk"
)

// A dead letter that is let through late must not put an old row over a newer one.
// So each row that goes by is compared with the dead letters by table and primary
// key: one of the same key, refused before, is marked as changed since. There are
// never more entries to compare with than dead letters are kept, and none is
// missed: the mark is written with the rest of the row's batch.

// RowKeys appends what a row is compared by: its table first, then its primary key
// behind and before the change; where a table has no key, only the table. They are
// hashes, so that two keys may be taken for one, which marks a letter too many.
func RowKeys(dst []uint64, row sdk.Row) []uint64 {
	s := row.Schema()
	table := hashText(hashText(hashSeed, s.DB), s.Table)
	dst = append(dst, table)
	after, before := row.After(), row.Before()
	if len(s.Key) == 0 || !after.Valid() && !before.Valid() {
		return append(dst, hashText(table, "no key"))
	}
	first := len(dst)
	for _, image := range [2][2]sdk.Image{{after, before}, {before, after}} {
		if !image[0].Valid() {
			continue
		}
		h := table
		for _, c := range s.Key {
			from := image[0]
			if from.IsAbsent(c) && image[1].Valid() { // an update that leaves the key as it is
				from = image[1]
			}
			switch {
			case !from.Has(c):
				h = hashText(h, "null")
			case s.Columns[c].Type.Inline():
				h = hashNumber(h, from.Slot(c))
			default:
				h = hashText(h, from.Bytes(c))
			}
		}
		if len(dst) == first || dst[len(dst)-1] != h {
			dst = append(dst, h)
		}
	}
	return dst
}

// FNV-1a, which is the same in every process.
const (
	hashSeed  uint64 = 14695981039346656037
	hashPrime uint64 = 1099511628211
)

func hashText[T string | []byte](h uint64, v T) uint64 {
	h = hashNumber(h, uint64(len(v))) // so that "a","bc" is not "ab","c"
	for i := range len(v) {
		h = (h ^ uint64(v[i])) * hashPrime
	}
	return h
}

func hashNumber(h, v uint64) uint64 {
	for range 8 {
		h = (h ^ v&0xff) * hashPrime
		v >>= 8
	}
	return h
}

// letterRef is what is known in memory of a dead letter.
type letterRef struct {
	DeadLetterKey
	number  uint64
	keys    []uint64 // the first is the table's
	changed bool     // marked
}

// letterIndex finds dead letters by what they are compared by.
type letterIndex struct {
	byKey map[uint64][]*letterRef
	refs  map[DeadLetterKey]*letterRef
	last  uint64 // the highest number that a letter has had
}

func newLetterIndex() letterIndex {
	return letterIndex{byKey: map[uint64][]*letterRef{}, refs: map[DeadLetterKey]*letterRef{}}
}

// put adds a letter, or takes the place of the one of the same name.
func (x *letterIndex) put(d *DeadLetter) {
	x.drop(d.DeadLetterKey)
	r := &letterRef{d.DeadLetterKey, d.Number, d.keys, d.ChangedBy != ""}
	x.refs[r.DeadLetterKey] = r
	for _, k := range r.keys {
		x.byKey[k] = append(x.byKey[k], r)
	}
	x.last = max(x.last, d.Number)
}

func (x *letterIndex) drop(k DeadLetterKey) {
	r := x.refs[k]
	if r == nil {
		return
	}
	delete(x.refs, k)
	for _, key := range r.keys {
		left := slices.DeleteFunc(x.byKey[key], func(o *letterRef) bool { return o == r })
		if x.byKey[key] = left; len(left) == 0 {
			delete(x.byKey, key)
		}
	}
}

// passed calls f for the letters that a row going by makes out of date: of its
// keys, or of the whole table where that is emptied, not marked yet, and numbered
// below before.
func (x *letterIndex) passed(keys []uint64, truncated bool, before uint64, f func(*letterRef)) {
	if truncated {
		keys = keys[:1]
	} else {
		keys = keys[1:]
	}
	for _, k := range keys {
		for _, r := range x.byKey[k] {
			if !r.changed && r.number < before {
				f(r)
			}
		}
	}
}

// gone is a row that went by, in Changes.
type gone struct {
	from, to  int // its keys in Changes.keys
	truncated bool
	refused   int // the letter that it became instead, in Changes.dead; -1 for none
	before    uint64
	tx        string // of the row
	row       uint64
}

// Passed takes note of a row that is not refused: dead letters of its key are out
// of date from here on. keys are RowKeys', and tx and row the row's place. before is
// the number of the letter that the row was until now, 0 for a row of the log.
func (c *Changes) Passed(keys []uint64, truncated bool, tx string, row, before uint64) {
	from := len(c.keys)
	c.keys = append(c.keys, keys...)
	c.gone = append(c.gone, gone{from, len(c.keys), truncated, -1, before, tx, row})
}

func (g *gone) String() string { return g.tx + "#" + strconv.FormatUint(g.row, 10) }

// Keys returns what the letter is compared by: RowKeys of the row as the source
// gave it.
func (d *DeadLetter) Keys() []uint64 { return d.keys }

// Keyed says by what letter i, of Refuse, is compared, and that its row is the next
// in order.
func (c *Changes) Keyed(i int, keys []uint64) {
	c.dead[i].keys = append([]uint64(nil), keys...)
	c.gone = append(c.gone, gone{refused: i})
}

// Compared reports whether there are dead letters to compare rows with.
func (p *Pipeline) Compared() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.letters.refs) > 0
}

// order gives new letters their numbers and finds those that are out of date by
// this write: of the ones on record, and of its own. It changes nothing on record.
func (p *Pipeline) order(c *Changes) (marked map[DeadLetterKey]string) {
	last := p.letters.last
	for i := range c.gone {
		g := &c.gone[i]
		if g.refused >= 0 {
			if d := &c.dead[g.refused]; d.Number == 0 {
				last++
				d.Number = last
			}
			continue
		}
		keys, before := c.keys[g.from:g.to], g.before
		if before == 0 {
			before = ^uint64(0)
		}
		p.letters.passed(keys, g.truncated, before, func(r *letterRef) {
			if g.before > 0 && r.Tx == g.tx && r.Row == g.row {
				return // replayed, and made of the same row: not a newer one
			}
			if marked == nil {
				marked = map[DeadLetterKey]string{}
			}
			if _, known := marked[r.DeadLetterKey]; !known {
				marked[r.DeadLetterKey] = g.String()
			}
		})
		for _, earlier := range c.gone[:i] {
			if earlier.refused >= 0 {
				d := &c.dead[earlier.refused]
				if d.ChangedBy == "" && d.Number < before && shares(d.keys, keys, g.truncated) {
					d.ChangedBy = g.String()
				}
			}
		}
	}
	for i := range c.dead { // those that nobody has put in order
		if d := &c.dead[i]; d.Number == 0 {
			last++
			d.Number = last
		}
	}
	return marked
}

// shares reports whether a row with the keys makes a letter out of date.
func shares(letter, row []uint64, truncated bool) bool {
	if len(letter) == 0 {
		return false
	}
	if truncated {
		return letter[0] == row[0]
	}
	return slices.ContainsFunc(row[1:], func(k uint64) bool { return slices.Contains(letter[1:], k) })
}

// stageMarked adds the marks to the write. A letter that this write replaces or
// takes away has its own.
func (p *Pipeline) stageMarked(b *pebble.Batch, marked map[DeadLetterKey]string, own map[DeadLetterKey]bool) error {
	for k, by := range marked {
		if own[k] {
			continue
		}
		v, ok, err := p.s.get(deadLetterKey(p.name, k))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := p.stageMark(b, k, v, by); err != nil {
			return err
		}
	}
	return nil
}

// stageMark writes one mark. A record of an earlier version becomes one of this.
func (p *Pipeline) stageMark(b *pebble.Batch, k DeadLetterKey, v []byte, by string) error {
	d, err := cutLetter(v)
	if err == nil && d.row != nil {
		if err = d.open(d.row); err == nil {
			d.body, err = p.stageBody(b, d.row)
		}
	}
	if err != nil {
		return p.badLetter(k, err)
	}
	d.ChangedBy = by
	if err := b.Set(deadLetterKey(p.name, k), encodeLetter(&d), nil); err != nil {
		return p.s.writeFailed(err)
	}
	return nil
}

// MarkAll marks all dead letters as changed since: after something that may have
// changed any of them.
func (p *Pipeline) MarkAll(by string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []DeadLetterKey
	for k, r := range p.letters.refs {
		if !r.changed {
			keys = append(keys, k)
		}
	}
	for some := range slices.Chunk(keys, deleteStep) {
		b := p.s.db.NewBatch()
		marked := map[DeadLetterKey]string{}
		for _, k := range some {
			marked[k] = by
		}
		if err := p.stageMarked(b, marked, nil); err != nil {
			return err
		}
		if err := p.s.commit(b); err != nil {
			return err
		}
		for _, k := range some {
			p.letters.refs[k].changed = true
		}
	}
	return nil
}

// InOrder returns those of the dead letters that are on record, once each, in the
// order of the log.
func (p *Pipeline) InOrder(keys []DeadLetterKey) ([]DeadLetterKey, error) {
	type placed struct {
		DeadLetterKey
		number uint64
		time   time.Time
	}
	list, seen := make([]placed, 0, len(keys)), map[DeadLetterKey]bool{}
	for _, k := range keys {
		v, ok, err := p.s.get(deadLetterKey(p.name, k))
		if err != nil {
			return nil, err
		}
		if !ok || seen[k] {
			continue
		}
		seen[k] = true
		d, err := cutLetter(v)
		if err != nil {
			return nil, p.badLetter(k, err)
		}
		list = append(list, placed{k, d.Number, d.Time})
	}
	slices.SortStableFunc(list, func(x, y placed) int {
		return cmp.Or(cmp.Compare(x.number, y.number), x.time.Compare(y.time))
	})
	out := make([]DeadLetterKey, len(list))
	for i := range list {
		out[i] = list[i].DeadLetterKey
	}
	return out, nil
}
