package state

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

const (
	// DeadLettersMax is how many dead letters one pipeline keeps before it halts
	// with CodeDeadLettersFull, unless Options say otherwise.
	DeadLettersMax = 100_000

	deleteStep = 500 // dead letters of one write of a purge
)

// DeadLetterKey names a dead letter: a step, and the row that it refused.
type DeadLetterKey struct {
	Step string
	Tx   string // the row's transaction
	Row  uint64 // its ordinal among the transaction's followed rows
}

// String returns "step/transaction#row", the form that people are shown.
func (k DeadLetterKey) String() string {
	return k.Step + "/" + k.Tx + "#" + strconv.FormatUint(k.Row, 10)
}

// Less reports whether k comes before o in the order in which dead letters are kept.
func (k DeadLetterKey) Less(o DeadLetterKey) bool {
	return cmp.Or(strings.Compare(k.Step, o.Step), strings.Compare(k.Tx, o.Tx), cmp.Compare(k.Row, o.Row)) < 0
}

// ParseDeadLetterKey reads String's form. A step's name has no slash, and
// nothing but digits comes behind the last #.
func ParseDeadLetterKey(s string) (DeadLetterKey, error) {
	step, rest, ok := strings.Cut(s, "/")
	at := strings.LastIndexByte(rest, '#')
	if !ok || step == "" || at <= 0 {
		return DeadLetterKey{}, fmt.Errorf("%q names no dead letter: want step/transaction#row", s)
	}
	row, err := strconv.ParseUint(rest[at+1:], 10, 64)
	if err != nil {
		return DeadLetterKey{}, fmt.Errorf("%q names no dead letter: %q is not a row", s, rest[at+1:])
	}
	return DeadLetterKey{step, rest[:at], row}, nil
}

// DeadLetter is a row that a step refused.
type DeadLetter struct {
	DeadLetterKey
	Position sdk.Position // exact, at or before the transaction
	Reason   string
	Time     time.Time
	// Batch is one row, as the step was given it; nil from DeadLettersBehind.
	Batch *sdk.Batch
	Bytes int // of the record and the row
	// Table is the row's, "db.table"; Committed is when its transaction was, and
	// LogPos where in the log that begins.
	Table     string
	Op        sdk.Op
	Committed time.Time
	LogPos    string
	// Attempts is how often the step was given the row: 1 until it is replayed.
	Attempts int
	// Number rises from one dead letter of the pipeline to the next, in the order
	// of the log; 0 for those of before there were numbers.
	Number uint64
	// ChangedBy names the first row of the same table and key that went by since;
	// empty while there is none.
	ChangedBy string

	keys []uint64 // RowKeys
	body body
	row  []byte // encoded, of a record of an earlier version; it has no body
}

// LimitDeadLetters says how many dead letters of each step the pipeline may
// keep: Persist refuses what would exceed it with CodeDeadLettersMany. A step
// without a number has no limit of its own.
func (p *Pipeline) LimitDeadLetters(steps map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadMax = steps
}

// DeadLetters returns how many dead letters are kept.
func (p *Pipeline) DeadLetters() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead.all()
}

// tally counts dead letters by step.
type tally map[string]int

func (t tally) all() (n int) {
	for _, of := range t {
		n += of
	}
	return n
}

// countDeadLetters finds out what an opened store has.
func (p *Pipeline) countDeadLetters() error {
	p.dead, p.letters = tally{}, newLetterIndex()
	v, ok, err := p.s.get(replaysKey(p.name))
	if err != nil {
		return err
	}
	if ok {
		f := fields{p: v[min(1, len(v)):]}
		if p.replays = f.uint(); f.bad || v[0] != valueVersion {
			return p.s.corrupt(errValue)
		}
	}
	if err := p.loadBodies(); err != nil {
		return err
	}
	prefix := pipelineKey(p.name, kindDeadLetter)
	return p.s.each(prefix, func(key, v []byte) error {
		step, tx, row, err := cutDeadLetter(key[len(prefix):])
		if err != nil {
			return p.s.corrupt(err)
		}
		d, err := p.openHeader(DeadLetterKey{step, tx, row}, v)
		if err != nil {
			return err
		}
		p.dead[step]++
		p.letters.put(&d)
		return nil
	})
}

// openHeader reads what is to be known of a dead letter without its row.
func (p *Pipeline) openHeader(k DeadLetterKey, v []byte) (DeadLetter, error) {
	d, err := cutLetter(v)
	if err == nil && d.keys == nil {
		err = d.open(d.row)
	}
	if err != nil {
		return d, p.badLetter(k, err)
	}
	d.DeadLetterKey, d.Batch = k, nil
	return d, nil
}

// badLetter is the fault of a dead letter that can't be read; the store's own stay.
func (p *Pipeline) badLetter(k DeadLetterKey, err error) error {
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return p.s.corrupt(fmt.Errorf("dead letter %s: %w", k, err))
}

// admit refuses dead letters that are more than the pipeline may keep; added
// holds those that are not on record yet, by their place in c.dead.
func (p *Pipeline) admit(c *Changes, added []int) error {
	if kept := p.dead.all(); len(added) > 0 && kept+len(added)-len(c.replayed) > p.s.opts.DeadLettersMax {
		return fault.New(fault.Fatal, CodeDeadLettersFull, p.name,
			"cdcd dlq list shows them and cdcd dlq purge removes them; mend the step or the rows at the source; or set on_error: skip for the step, which drops what it refuses",
			"%d dead letters are kept, which is the limit", kept)
	}
	more := tally{}
	for _, i := range added {
		d := &c.dead[i]
		limit, ok := p.deadMax[d.Step]
		if ok && p.dead[d.Step]+more[d.Step] >= limit {
			return fault.New(fault.Fatal, CodeDeadLettersMany, p.name+"/"+d.Step,
				"look at them with cdcd dlq list and show; mend the step or the rows at the source; then cdcd dlq purge makes room, or raise halt_after",
				"the step refused row %d of transaction %s (%s), and halt_after: %d are kept already", d.Row, d.Tx, d.Reason, limit)
		}
		more[d.Step]++
	}
	return nil
}

// EachDeadLetter calls f for every dead letter, by step, transaction and row,
// until f returns an error. f must not call the Pipeline.
func (p *Pipeline) EachDeadLetter(f func(DeadLetter) error) error {
	return p.DeadLettersBehind(DeadLetterKey{}, func(d DeadLetter) error {
		d, ok, err := p.DeadLetter(d.DeadLetterKey)
		if err != nil || !ok { // gone meanwhile
			return err
		}
		return f(d)
	})
}

// DeadLettersBehind does the same for the dead letters behind one in that order,
// which need not be there; behind the zero key are all. No row is read: the letters
// have no Batch.
func (p *Pipeline) DeadLettersBehind(after DeadLetterKey, f func(DeadLetter) error) error {
	prefix := pipelineKey(p.name, kindDeadLetter)
	lower := prefix
	if after != (DeadLetterKey{}) {
		lower = append(deadLetterKey(p.name, after), 0)
	}
	return p.s.within(lower, prefixEnd(prefix), func(key, v []byte) error {
		step, tx, row, err := cutDeadLetter(key[len(prefix):])
		if err != nil {
			return p.s.corrupt(err)
		}
		k := DeadLetterKey{step, tx, row}
		d, err := cutLetter(v)
		if err == nil && d.row != nil {
			err = d.open(append([]byte(nil), d.row...))
		}
		if err != nil {
			return p.badLetter(k, err)
		}
		d.DeadLetterKey, d.Batch, d.row = k, nil, nil
		return f(d)
	})
}

// DeadLetter returns one dead letter; ok is false when it is not there.
func (p *Pipeline) DeadLetter(k DeadLetterKey) (d DeadLetter, ok bool, err error) {
	err = p.s.view(func(now pebble.Reader) error {
		var v []byte
		if v, ok, err = p.s.read(now, deadLetterKey(p.name, k)); err != nil || !ok {
			return err
		}
		d, err = p.readLetter(now, k, v)
		return err
	})
	return d, ok && err == nil, err
}

// readLetter reads a dead letter with its row.
func (p *Pipeline) readLetter(now pebble.Reader, k DeadLetterKey, v []byte) (DeadLetter, error) {
	d, err := cutLetter(v)
	row := d.row
	if err == nil && row == nil {
		row, err = p.s.readBody(now, p.name, d.body)
	}
	if err == nil {
		err = d.open(row)
	}
	if err != nil {
		return d, p.badLetter(k, err)
	}
	d.DeadLetterKey, d.row = k, nil
	return d, nil
}

// DeleteDeadLetters removes dead letters, in synced writes of a few hundred
// each, and returns how many were there.
func (p *Pipeline) DeleteDeadLetters(keys []DeadLetterKey) (deleted int, err error) {
	for len(keys) > 0 {
		n := min(len(keys), deleteStep)
		gone, err := p.deleteSome(keys[:n])
		deleted += gone
		if err != nil {
			return deleted, err
		}
		keys = keys[n:]
	}
	return deleted, nil
}

func (p *Pipeline) deleteSome(keys []DeadLetterKey) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, gone := p.s.db.NewBatch(), map[DeadLetterKey]bool{}
	for _, k := range keys {
		v, known, err := p.s.get(deadLetterKey(p.name, k))
		if err != nil {
			return 0, errors.Join(err, b.Close())
		}
		if !known || gone[k] {
			continue
		}
		gone[k] = true
		d, err := cutLetter(v)
		if err != nil {
			return 0, errors.Join(p.badLetter(k, err), b.Close())
		}
		if err := errors.Join(p.deleteLetter(b, k), p.deleteBodies(b, d.body)); err != nil {
			return 0, errors.Join(err, b.Close())
		}
	}
	if err := p.s.commit(b); err != nil {
		return 0, err
	}
	for k := range gone {
		p.dead[k.Step]--
		p.letters.drop(k)
	}
	return len(gone), nil
}
