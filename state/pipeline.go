package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// Pipeline is one pipeline's part of the store. It is safe for concurrent use.
type Pipeline struct {
	s    *Store
	name string

	mu      sync.Mutex
	schemas uint64 // number of the next definition
	dead    tally  // dead letters kept
	deadMax map[string]int
	letters letterIndex
	bodies  uint64        // the highest number that a body has had
	replays uint64        // the highest number that a replay has had
	news    chan struct{} // of dead letters to publish; nil where they are not
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
	// Before is how many of them lie before Position: fewer than Messages where
	// Position is that of a transaction of which a part is delivered.
	Before uint64 `json:"before,omitempty"`
	// Replays is the number of the last replay that the sink has confirmed.
	Replays uint64 `json:"replays,omitempty"`
	// Changes is the number of the last confirmed batch that changed a
	// connector's values; see Pipeline.Changed.
	Changes uint64 `json:"changes,omitempty"`
	// At and Complete are set where the sink's tail was lost and what connectors
	// keep was taken back with it: Position is then somewhere before the sink's last
	// message, which was this, and Before says nothing.
	At       string `json:"at,omitempty"`
	Complete bool   `json:"complete,omitempty"` // the sink has all of At's transaction
	// Restored says that the store is a copy made at that time: what the sink has
	// behind Position, this state has not seen.
	Restored bool `json:"restored,omitempty"`
	// Forgot says that what connectors kept was taken away on purpose, and that
	// nothing was confirmed since.
	Forgot bool `json:"forgot,omitempty"`
}

// Steps is the configuration under which a pipeline's messages were made. A
// transaction that was delivered in part must be finished under the same one.
type Steps struct {
	Fingerprint string   `json:"fingerprint"` // of table filter, steps and modules
	Digests     []string `json:"digests"`     // SHA-256 of each step's module, in order
	// Config is all of it that must be known to use it again, in the form of
	// whoever made it; with it the modules are kept. Empty for none.
	Config json.RawMessage `json:"config,omitempty"`
	// Module returns the bytes of the module with a digest, for RecordSteps.
	Module func(digest string) ([]byte, error) `json:"-"`
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
	if err := p.countDeadLetters(); err != nil {
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

// RecordSteps makes the configuration durable before messages are made with it,
// and its modules in place of those of the one before.
func (p *Pipeline) RecordSteps(st Steps) error {
	v, err := encodeJSON(&st)
	if err != nil {
		return p.s.writeFailed(err)
	}
	prefix := modulesKey(p.name)
	b := p.s.db.NewBatch()
	set := func(key, value []byte) {
		if serr := b.Set(key, value, nil); err == nil {
			err = serr
		}
	}
	err = b.DeleteRange(prefix, prefixEnd(prefix), nil)
	set(pipelineKey(p.name, kindSteps), v)
	if st.Module != nil && len(st.Config) > 0 {
		for _, digest := range st.Digests {
			code, merr := st.Module(digest)
			if merr != nil {
				return errors.Join(merr, b.Close())
			}
			for n, piece := range pieces(code) {
				set(modulePieceKey(p.name, digest, n), piece)
			}
		}
	}
	if err != nil {
		return errors.Join(p.s.writeFailed(err), b.Close())
	}
	return p.s.commit(b)
}

// Module returns a module that RecordSteps has kept.
func (p *Pipeline) Module(digest string) (code []byte, ok bool, err error) {
	code, ok, err = p.s.get(moduleKey(p.name, digest))
	if err != nil {
		return nil, false, err
	}
	if ok { // as it was kept once, in one piece
		if len(code) == 0 || code[0] != valueVersion {
			return nil, false, p.s.corrupt(errValue)
		}
		return code[1:], true, nil
	}
	err = p.s.each(moduleKey(p.name, digest), func(_, piece []byte) error {
		if len(piece) == 0 || piece[0] != valueVersion {
			return p.s.corrupt(errValue)
		}
		code = append(code, piece[1:]...)
		return nil
	})
	return code, err == nil && len(code) > 0, err
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
	dead     []DeadLetter
	rows     [][]byte // encoded, in step with dead
	origins  []Origin // in step with dead
	gone     []gone   // rows in their order
	keys     []uint64 // of gone
	replayed []DeadLetterKey
	values   []value
	builder  sdk.Builder

	replay        Origin // of what replayed has
	end           sdk.Position
	exact, always bool
}

type value struct {
	step       string
	key, value []byte
	gone       bool
	at         Origin
}

// Empty reports whether there is nothing to make durable, but for the marks of dead
// letters that are out of date.
func (c *Changes) Empty() bool {
	return len(c.dead) == 0 && len(c.values) == 0 && len(c.replayed) == 0 && !c.always
}

// Reset empties c for reuse.
func (c *Changes) Reset() {
	clear(c.dead)
	clear(c.rows)
	clear(c.values)
	clear(c.gone)
	c.dead, c.rows, c.values = c.dead[:0], c.rows[:0], c.values[:0]
	c.origins, c.gone, c.keys, c.replayed = c.origins[:0], c.gone[:0], c.keys[:0], c.replayed[:0]
	c.replay = Origin{}
	c.end, c.exact, c.always = "", false, false
}

// Refuse adds a dead letter: row as the step was given it. d.Tx and d.Row are
// taken from it. It returns the letter's place, for RefusedAt and Keyed.
func (c *Changes) Refuse(d DeadLetter, row sdk.Row) (i int) {
	d.Tx, d.Row = string(row.Tx().ID()), row.Ordinal()
	d.Attempts = max(d.Attempts, 1)
	c.builder.Reset()
	c.builder.CopyTx(row.Tx())
	c.builder.CopyRow(row)
	schemas := make([]*sdk.Schema, row.SchemaID()+1)
	schemas[row.SchemaID()] = row.Schema()
	d.describe(row)
	d.keys = RowKeys(nil, row)
	c.dead = append(c.dead, d)
	c.rows = append(c.rows, encodeRow(c.builder.Seal(schemas)))
	c.origins = append(c.origins, Origin{Tx: d.Tx, Row: d.Row})
	return len(c.dead) - 1
}

// RefusedAt says where letter i, of Refuse, lies among the sink's messages.
func (c *Changes) RefusedAt(i int, at Origin) { c.origins[i] = at }

// Replayed takes a dead letter away, whose row comes by again at the origin.
func (c *Changes) Replayed(k DeadLetterKey, at Origin) {
	c.replayed = append(c.replayed, k)
	c.replay = at
}

// Persist makes the changes durable in one synced write. A dead letter that is
// on record already is written over: a row that is read again counts once.
func (p *Pipeline) Persist(c *Changes) error {
	if c.Empty() && len(c.gone) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	marked := p.order(c)
	if c.Empty() && len(marked) == 0 {
		return nil
	}
	b := p.s.db.NewBatch()
	w, err := p.stageDeadLetters(b, c, marked)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	rec, err := p.stage(b, c, w.undo)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := p.s.commit(b); err != nil {
		return err
	}
	p.lettersChanged(c, &w, marked)
	p.changed(rec)
	p.replays = max(p.replays, c.replay.Replay)
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

// Forget takes all records away, durably.
func (h *Schemas) Forget() error {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	if h.p.schemas == 0 {
		return nil
	}
	prefix := pipelineKey(h.p.name, kindSchema)
	b := h.p.s.db.NewBatch()
	if err := b.DeleteRange(prefix, prefixEnd(prefix), nil); err != nil {
		return h.p.s.writeFailed(err)
	}
	if err := h.p.s.commit(b); err != nil {
		return err
	}
	h.p.schemas = 0
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
