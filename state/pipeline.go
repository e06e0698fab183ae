package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Pipeline is one pipeline's part of the store. It is safe for concurrent use.
type Pipeline struct {
	s    *Store
	name string

	mu      sync.Mutex
	schemas uint64 // number of the next definition
	dead    int    // dead letters kept
	gaps    [][]byte

	changes   uint64           // number of the last record of what connectors changed
	open      bool             // that batch ended inside a transaction
	undo      int64            // bytes of all records
	used      map[string]int64 // what each step's connector keeps
	trimmed   bool             // there were older records
	trimmedAt time.Time
}

// Checkpoint is how far a pipeline has come: what the sink confirmed.
type Checkpoint struct {
	// Position is exact: everything before it is delivered.
	Position sdk.Position `json:"position"`
	// Exact says that nothing behind Position is delivered; otherwise the sink's
	// last message, inside a transaction, says how far delivery went.
	Exact bool `json:"exact"`
	// Token names the sink's last message.
	Token string `json:"token"`
	// Number is the group that was confirmed last, counted over all runs.
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	LogPos string    `json:"log_pos,omitempty"` // Position for people
	// CommitTime is the commit of the last delivered transaction, µs since the
	// Unix epoch.
	CommitTime int64  `json:"commit_time,omitempty"`
	RowsIn     uint64 `json:"rows_in"`
	RowsOut    uint64 `json:"rows_out"`
	Dropped    uint64 `json:"dropped"`
	Dead       uint64 `json:"dead"`
	// Schemas is how many table definitions were on record at that time.
	Schemas uint64 `json:"schemas"`
	// Cursor is a snapshot's own note of how far it has come.
	Cursor []byte `json:"cursor,omitempty"`
	// Messages is how many data messages the sink has confirmed.
	Messages uint64 `json:"messages,omitempty"`
	// Changes is the number of the last confirmed batch that changed a
	// connector's values; see Pipeline.Changed.
	Changes uint64 `json:"changes,omitempty"`
}

// Steps is the configuration under which a pipeline's messages were made. A
// transaction that was delivered in part must be finished under the same one.
type Steps struct {
	Fingerprint string   `json:"fingerprint"` // of table filter, steps and modules
	Digests     []string `json:"digests"`     // SHA-256 of each step's module, in order
}

// DeadLetter is a row that a step refused.
type DeadLetter struct {
	Step     string
	Tx       string // the transaction, and the row's ordinal in it: with Step, the key
	Row      uint64
	Position sdk.Position // exact, at or before the transaction
	Reason   string
	Time     time.Time
	Batch    *sdk.Batch // one row, as the step was given it
}

// Pipeline returns the part of the store that belongs to the pipeline.
func (s *Store) Pipeline(name string) (*Pipeline, error) {
	s.mu.Lock()
	p := s.pipes[name]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p = &Pipeline{s: s, name: name}
	if err := p.count(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.pipes[name]; first != nil {
		return first, nil
	}
	s.pipes[name] = p
	return p, nil
}

func (p *Pipeline) count() error {
	if err := p.loadGaps(); err != nil {
		return err
	}
	prefix := pipelineKey(p.name, kindSchema)
	err := p.s.each(prefix, func(key, _ []byte) error {
		if len(key) != len(prefix)+8 {
			return p.s.corrupt(errKey)
		}
		p.schemas = binary.BigEndian.Uint64(key[len(prefix):]) + 1
		return nil
	})
	if err != nil {
		return err
	}
	err = p.s.each(pipelineKey(p.name, kindDeadLetter), func(_, _ []byte) error {
		p.dead++
		return nil
	})
	if err != nil {
		return err
	}
	return p.countChanges()
}

// Load returns the last checkpoint; ok is false without one.
func (p *Pipeline) Load() (c Checkpoint, ok bool, err error) {
	v, ok, err := p.s.get(pipelineKey(p.name, kindCheckpoint))
	if err != nil || !ok {
		return c, false, err
	}
	if err := decodeJSON(v, &c); err != nil {
		return c, false, p.s.corrupt(fmt.Errorf("checkpoint of %s: %w", p.name, err))
	}
	return c, true, nil
}

// Commit makes the checkpoint durable, in one synced write.
func (p *Pipeline) Commit(c Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Schemas = p.schemas
	v, err := encodeJSON(&c)
	if err != nil {
		return p.s.writeFailed(err)
	}
	b := p.s.db.NewBatch()
	if err := b.Set(pipelineKey(p.name, kindCheckpoint), v, nil); err != nil {
		return p.s.writeFailed(err)
	}
	if err := p.trim(b, c.Changes); err != nil {
		return errors.Join(err, b.Close())
	}
	return p.s.commit(b)
}

// LoadSteps returns the configuration that the last run recorded.
func (p *Pipeline) LoadSteps() (st Steps, ok bool, err error) {
	v, ok, err := p.s.get(pipelineKey(p.name, kindSteps))
	if err != nil || !ok {
		return st, false, err
	}
	if err := decodeJSON(v, &st); err != nil {
		return st, false, p.s.corrupt(fmt.Errorf("steps of %s: %w", p.name, err))
	}
	return st, true, nil
}

// RecordSteps makes the configuration durable before messages are made with it.
func (p *Pipeline) RecordSteps(st Steps) error {
	v, err := encodeJSON(&st)
	if err != nil {
		return p.s.writeFailed(err)
	}
	return p.set(pipelineKey(p.name, kindSteps), v)
}

func (p *Pipeline) set(key, value []byte) error {
	b := p.s.db.NewBatch()
	if err := b.Set(key, value, nil); err != nil {
		return p.s.writeFailed(err)
	}
	return p.s.commit(b)
}

// Changes is what a batch changes locally; it is made durable before the
// batch's messages are published. The zero value is empty and ready.
type Changes struct {
	dead    []DeadLetter
	rows    [][]byte // encoded, in step with dead
	values  []value
	builder sdk.Builder

	end           sdk.Position
	exact, always bool
}

type value struct {
	step       string
	key, value []byte
	gone       bool
	at         Origin
}

// Empty reports whether there is nothing to make durable.
func (c *Changes) Empty() bool { return len(c.dead) == 0 && len(c.values) == 0 && !c.always }

// Reset empties c for reuse.
func (c *Changes) Reset() {
	clear(c.dead)
	clear(c.rows)
	clear(c.values)
	c.dead, c.rows, c.values = c.dead[:0], c.rows[:0], c.values[:0]
	c.end, c.exact, c.always = "", false, false
}

// Refuse adds a dead letter: row as the step was given it. d.Tx and d.Row are
// taken from it.
func (c *Changes) Refuse(d DeadLetter, row sdk.Row) {
	d.Tx, d.Row = string(row.Tx().ID()), row.Ordinal()
	c.builder.Reset()
	c.builder.CopyTx(row.Tx())
	c.builder.CopyRow(row)
	schemas := make([]*sdk.Schema, row.SchemaID()+1)
	schemas[row.SchemaID()] = row.Schema()
	c.dead = append(c.dead, d)
	c.rows = append(c.rows, encodeDeadLetter(&d, c.builder.Seal(schemas)))
}

// Persist makes the changes durable in one synced write. A dead letter that is
// on record already is written over: a row that is read again counts once.
func (p *Pipeline) Persist(c *Changes) error {
	if c.Empty() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, added := p.s.db.NewBatch(), map[string]bool{}
	for i, d := range c.dead {
		key := deadLetterKey(p.name, d.Step, d.Tx, d.Row)
		_, known, err := p.s.get(key)
		if err != nil {
			return errors.Join(err, b.Close())
		}
		if !known {
			added[string(key)] = true
		}
		if err := b.Set(key, c.rows[i], nil); err != nil {
			return p.s.writeFailed(err)
		}
	}
	if p.dead+len(added) > p.s.opts.DeadLettersMax && len(added) > 0 {
		return errors.Join(fault.New(fault.Fatal, CodeDeadLettersFull, p.name,
			"mend the step or the rows at the source; or set on_error: skip for the step, which drops what it refuses",
			"%d dead letters are kept, which is the limit", p.dead), b.Close())
	}
	rec, err := p.stage(b, c)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := p.s.commit(b); err != nil {
		return err
	}
	p.dead += len(added)
	p.changed(rec)
	return nil
}

// DeadLetters returns how many dead letters are kept.
func (p *Pipeline) DeadLetters() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// EachDeadLetter calls f for every dead letter, by step, transaction and row,
// until f returns an error. f must not call the Pipeline.
func (p *Pipeline) EachDeadLetter(f func(DeadLetter) error) error {
	prefix := pipelineKey(p.name, kindDeadLetter)
	return p.s.each(prefix, func(key, v []byte) error {
		step, tx, row, err := cutDeadLetter(key[len(prefix):])
		if err != nil {
			return p.s.corrupt(err)
		}
		d, err := decodeDeadLetter(append([]byte(nil), v...))
		if err != nil {
			return p.s.corrupt(fmt.Errorf("dead letter %s/%s#%d: %w", step, tx, row, err))
		}
		d.Step, d.Tx, d.Row = step, tx, row
		return f(d)
	})
}

// DeleteDeadLetter removes a dead letter; one that is not there is no error.
func (p *Pipeline) DeleteDeadLetter(step, tx string, row uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := deadLetterKey(p.name, step, tx, row)
	_, known, err := p.s.get(key)
	if err != nil || !known {
		return err
	}
	b := p.s.db.NewBatch()
	if err := b.Delete(key, nil); err != nil {
		return p.s.writeFailed(err)
	}
	if err := p.s.commit(b); err != nil {
		return err
	}
	p.dead--
	return nil
}

// Schemas returns the history of table definitions.
func (p *Pipeline) Schemas() *Schemas { return &Schemas{p} }

// Schemas is a pipeline's history of table definitions: cdc.SchemaStore.
type Schemas struct{ p *Pipeline }

// Put makes durable, before it returns, what is known behind the position.
func (h *Schemas) Put(behind sdk.Position, record []byte) error {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	if err := h.p.set(schemaKey(h.p.name, h.p.schemas), encodeSchema(behind, record)); err != nil {
		return err
	}
	h.p.schemas++
	return nil
}

// Each calls f for all records in the order in which they were put.
func (h *Schemas) Each(f func(behind sdk.Position, record []byte) error) error {
	return h.p.s.each(pipelineKey(h.p.name, kindSchema), func(_, v []byte) error {
		behind, record, err := decodeSchema(v)
		if err != nil {
			return h.p.s.corrupt(fmt.Errorf("table definition of %s: %w", h.p.name, err))
		}
		return f(behind, record)
	})
}
