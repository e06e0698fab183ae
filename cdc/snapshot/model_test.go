package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

// model is a database in memory that writes its log before it shows a change,
// as the real ones do.
type model struct {
	rng *rand.Rand

	mu      sync.Mutex
	log     []modelTx        // flushed
	visible int              // as many of them are shown
	tables  []*modelTable    // as shown
	final   map[string]int64 // the writer's view: "table/key" -> version
	schemas []*sdk.Schema    // by id
	grown   chan struct{}

	lowIsFlushed bool            // the mistake that the low mark must not be
	highIsEarly  bool            // the mistake that the high mark must not be
	ended        []time.Duration // how old views were that were ended while a batch was waited for
	breaks       int             // of a hundred calls of a connection, as many fail
}

type modelTable struct {
	name   string
	rows   map[int64]int64
	schema *sdk.Schema
	print  string
}

type modelRow struct {
	op            sdk.Op
	table         string
	before, after [2]int64 // key, version
	schema        *sdk.Schema
}

type modelTx struct {
	rows []modelRow
	ddl  string      // the table that it alters
	to   *sdk.Schema // into that

}

var errBroken = errors.New("the connection broke")

func newModel(seed uint64, tables int) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), final: map[string]int64{}, grown: make(chan struct{}), schemas: []*sdk.Schema{nil}}
	for i := range tables {
		t := &modelTable{name: "t" + strconv.Itoa(i), rows: map[int64]int64{}, print: "id"}
		t.schema = m.schema(t.name, 2)
		m.tables = append(m.tables, t)
	}
	return m
}

func (m *model) schema(table string, columns int) *sdk.Schema {
	s := &sdk.Schema{ID: uint32(len(m.schemas)), DB: "d", Table: table, Key: []int{0}}
	for c := range columns {
		s.Columns = append(s.Columns, sdk.Column{Name: "c" + strconv.Itoa(c), Type: sdk.TypeInt})
	}
	m.schemas = append(m.schemas[:len(m.schemas):len(m.schemas)], s)
	return s
}

func (m *model) key(table string, k int64) string { return table + "/" + strconv.FormatInt(k, 10) }

// flush writes a random transaction to the log.
func (m *model) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := int64(len(m.log) + 1)
	var tx modelTx
	t := m.tables[m.rng.IntN(len(m.tables))]
	switch m.rng.IntN(60) {
	case 0:
		tx.ddl, tx.to = t.name, m.schema(t.name, 2+m.rng.IntN(3))
		m.commitLog(tx)
		return
	case 1:
		for k := range m.final {
			if strings.HasPrefix(k, t.name+"/") {
				delete(m.final, k)
			}
		}
		tx.rows = append(tx.rows, modelRow{op: sdk.OpTruncate, table: t.name})
		m.commitLog(tx)
		return
	}
	touched := map[string]bool{}
	for range 1 + m.rng.IntN(4) {
		t := m.tables[m.rng.IntN(len(m.tables))]
		k := int64(m.rng.IntN(60))
		at := m.key(t.name, k)
		old, there := m.final[at]
		r := modelRow{table: t.name, before: [2]int64{k, old}, after: [2]int64{k, v}}
		to := at
		switch {
		case touched[at]:
			continue
		case !there:
			r.op = sdk.OpInsert
		case m.rng.IntN(4) == 0:
			r.op = sdk.OpDelete
		default:
			r.op = sdk.OpUpdate
			if n := int64(m.rng.IntN(60)); m.rng.IntN(3) == 0 {
				if _, taken := m.final[m.key(t.name, n)]; !taken && !touched[m.key(t.name, n)] { // the key moves
					r.after[0], to = n, m.key(t.name, n)
				}
			}
		}
		touched[at], touched[to] = true, true
		delete(m.final, at)
		if r.op != sdk.OpDelete {
			m.final[to] = v
		}
		tx.rows = append(tx.rows, r)
	}
	m.commitLog(tx)
}

func (m *model) commitLog(tx modelTx) {
	m.log = append(m.log, tx)
	close(m.grown)
	m.grown = make(chan struct{})
}

// show makes the next transaction of the log visible.
func (m *model) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.visible == len(m.log) {
		return
	}
	tx := m.log[m.visible]
	m.visible++
	for _, t := range m.tables {
		if t.name == tx.ddl {
			t.schema = tx.to
		}
		for _, r := range tx.rows {
			if r.table != t.name {
				continue
			}
			if r.op == sdk.OpTruncate {
				clear(t.rows)
			}
			if r.op == sdk.OpUpdate || r.op == sdk.OpDelete {
				delete(t.rows, r.before[0])
			}
			if r.op == sdk.OpInsert || r.op == sdk.OpUpdate {
				t.rows[r.after[0]] = r.after[1]
			}
		}
	}
}

// write writes n transactions, each shown some time later.
func (m *model) write(n int) {
	m.mu.Lock()
	rng := rand.New(rand.NewPCG(m.rng.Uint64(), 3))
	m.mu.Unlock()
	for range n {
		m.flush()
		if rng.IntN(3) > 0 {
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Microsecond)
		}
		for range rng.IntN(3) {
			m.show()
		}
	}
	for range n {
		m.show()
	}
}

func pos(n int) sdk.Position { return sdk.Position("p" + strconv.Itoa(n)) }

func parsePos(p sdk.Position) (n int, cursor []byte) {
	text, c, _ := strings.Cut(string(p), "|")
	n, err := strconv.Atoi(strings.TrimPrefix(text, "p"))
	if err != nil {
		panic(err)
	}
	return n, []byte(c)
}

// The model as a Database.

func (m *model) Open(context.Context) (Conn, error) { return &modelConn{m: m}, m.broken() }

// changed makes so many changes, all of them visible.
func (m *model) changed(n int) {
	for range n {
		m.flush()
		m.show()
	}
}

func (m *model) broken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brokenLocked()
}

func (m *model) brokenLocked() error {
	if m.rng.IntN(100) < m.breaks {
		return errBroken
	}
	return nil
}
func (m *model) Mendable(err error) bool { return errors.Is(err, errBroken) }
func (m *model) Covers(p, other sdk.Position) (bool, error) {
	a, _ := parsePos(p)
	b, _ := parsePos(other)
	return a >= b, nil
}
func (m *model) Attach(p sdk.Position, cursor []byte) sdk.Position {
	return p + "|" + sdk.Position(cursor)
}

type modelConn struct {
	m    *model
	view *modelTable // as it was
}

func (c *modelConn) Close() error { return nil }

func (c *modelConn) Load(context.Context) (int, error) { return 1, c.m.broken() }

func (c *modelConn) Tables(_ context.Context, copied []string) (names []Name, err error) {
	for _, t := range c.m.tables {
		if !slices.Contains(copied, t.name) {
			names = append(names, Name{"d", t.name})
		}
	}
	return names, c.m.broken()
}

func (c *modelConn) table(n string) *modelTable {
	return c.m.tables[slices.IndexFunc(c.m.tables, func(t *modelTable) bool { return t.name == n })]
}

func (c *modelConn) Plan(_ context.Context, n Name, r *Request) (*Table, error) {
	if err := c.m.broken(); err != nil {
		return nil, err
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	t := c.table(n.Table)
	return &Table{Name: n, Schema: t.schema, Key: []int{0}, Print: t.print, Rows: int64(len(t.rows)), Plan: r, Splits: func(context.Context, int) ([]Key, error) { return []Key{modelKey(20), modelKey(35)}, nil }}, nil
}

func modelKey(k int64) Key { return Key(fmt.Sprintf("%08d", k)) }

func (c *modelConn) Low(context.Context, *Table) (sdk.Position, error) {
	c.pause()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.lowIsFlushed {
		return pos(len(c.m.log)), nil
	}
	return pos(c.m.visible), nil
}

func (c *modelConn) View(_ context.Context, t *Table) (sdk.Position, error) {
	c.pause()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	end := len(c.m.log)
	for range 40 { // long enough for a row to change twice
		if c.m.highIsEarly {
			c.rest()
		}
	}
	v := *c.table(t.Table)
	v.rows = maps.Clone(v.rows)
	if c.view = &v; c.m.highIsEarly {
		return pos(end), nil
	}
	c.rest()
	return pos(len(c.m.log)), c.m.brokenLocked()
}

// rest is a pause without the lock.
func (c *modelConn) rest() {
	c.m.mu.Unlock()
	c.pause()
	c.m.mu.Lock()
}

func (c *modelConn) pause() {
	c.m.mu.Lock()
	d := time.Duration(c.m.rng.IntN(800)) * time.Microsecond
	c.m.mu.Unlock()
	time.Sleep(d)
}

func (c *modelConn) Chunk(ctx context.Context, t *Table, r Range, _ Limits, rows *Rows) (*Chunk, error) {
	c.pause()
	if err := c.m.broken(); err != nil {
		return nil, err
	}
	c.m.mu.Lock()
	mt := c.view
	c.view = nil
	noticed, limit := c.m.rng.IntN(2) == 0, 1+c.m.rng.IntN(40)
	rows.Begin(c.m.schemas)
	c.m.mu.Unlock()
	began := time.Now()
	defer context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == errViewEnded {
			c.m.mu.Lock()
			defer c.m.mu.Unlock()
			c.m.ended = append(c.m.ended, time.Since(began))
		}
	})()
	if mt.schema != t.Schema && noticed {
		return nil, ErrChanged // a column is gone; otherwise nothing is noticed
	}
	chunk := &Chunk{Last: true}
	for _, k := range slices.Sorted(maps.Keys(mt.rows)) {
		key := modelKey(k)
		if key < r.After || key == r.After && !r.Again || r.UpTo != "" && key > r.UpTo {
			continue
		}
		if limit--; limit < 0 || rows.Enough() {
			chunk.Last = false
			break
		}
		if c.pause(); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := c.m.broken(); err != nil {
			return nil, err
		}
		if r, _ := t.Plan.(*Request); r != nil && r.Where == "odd" && k%2 == 0 {
			chunk.Next = key
			continue
		}
		chunk.Next = ""
		err := rows.Add(func(dst []byte) ([]byte, error) { return append(dst, key...), nil }, func(b *sdk.Builder) error {
			b.BeginRow(t.Schema, sdk.OpRead, sdk.RowAfter, 0)
			image(b.After, t.Schema, [2]int64{k, mt.rows[k]})
			b.EndRow()
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return chunk, nil
}

func image(m func() sdk.Image, s *sdk.Schema, v [2]int64) {
	for c := range s.Columns {
		m().SetSlot(c, uint64(v[min(c, 1)]))
	}
}

// stream is the model's log as a source hands it out, from a position on, until
// ctx ends. The first transaction to hand out is number from. Large ones come in
// parts.
func (m *model) stream(ctx context.Context, rng *rand.Rand, from int, c *Copier) error {
	for at := from; ; {
		m.mu.Lock()
		n, grown, schemas := len(m.log), m.grown, m.schemas
		m.mu.Unlock()
		if at == n {
			select {
			case <-grown:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		end := at + 1 + rng.IntN(min(4, n-at))
		var b sdk.Builder
		b.Reset()
		emit := func(begin, end int) error {
			batch := &cdc.Batch{Begin: pos(begin), End: pos(end), Batch: b.Seal(schemas)}
			err := c.Stream(ctx, batch)
			b = sdk.Builder{}
			b.Reset()
			return err
		}
		begin := at
		for ; at < end; at++ {
			m.mu.Lock()
			tx := m.log[at]
			m.mu.Unlock()
			if tx.ddl != "" { // the log's statement: the source tells at once
				c.Altered(func(n Name) bool { return n.Table == tx.ddl })
				continue
			}
			if len(tx.rows) == 0 {
				continue
			}
			parts := len(tx.rows) > 2 && rng.IntN(2) == 0
			if parts && b.Txs() > 0 {
				if err := emit(begin, at); err != nil {
					return err
				}
				begin = at
			}
			b.BeginTx(sdk.TxInfo{ID: []byte("tx" + strconv.Itoa(at))})
			for i, r := range tx.rows {
				if parts && i == 2 {
					if err := emit(at, at); err != nil {
						return err
					}
					if time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond); ctx.Err() != nil {
						return context.Cause(ctx)
					}
					b.BeginTx(sdk.TxInfo{ID: []byte("tx" + strconv.Itoa(at)), RowsBefore: uint64(i)})
				}
				m.append(&b, at, r, uint64(i))
			}
			b.EndTx(0, 0)
		}
		if err := emit(begin, at); err != nil {
			return err
		}
		time.Sleep(time.Duration(rng.IntN(1200)) * time.Microsecond)
	}
}

// append writes a row of the log by the table's definition at that place.
func (m *model) append(b *sdk.Builder, at int, r modelRow, ordinal uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.schemas, func(s *sdk.Schema) bool { return s != nil && s.Table == r.table })
	s := m.schemas[i]
	for _, tx := range m.log[:at] {
		if tx.ddl == r.table {
			s = tx.to
		}
	}
	var parts sdk.RowFlags
	if r.op == sdk.OpUpdate || r.op == sdk.OpDelete {
		parts |= sdk.RowBefore
	}
	if r.op == sdk.OpUpdate || r.op == sdk.OpInsert {
		parts |= sdk.RowAfter
	}
	b.BeginRow(s, r.op, parts, ordinal)
	if parts&sdk.RowAfter != 0 {
		image(b.After, s, r.after)
	}
	if parts&sdk.RowBefore != 0 {
		image(b.Before, s, r.before)
	}
	b.EndRow()
}
