package cdctest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Tx is a scripted transaction. One without rows moves the position only.
type Tx struct {
	ID   string
	Time int64 // commit, microseconds since the Unix epoch
	Rows []Row
}

// Row is a scripted insert.
type Row struct {
	Schema *sdk.Schema
	Key    int64  // column 0
	Text   string // column 1
}

// Table returns a schema of two columns, id and note, for Row.
func Table(id uint32, name string) *sdk.Schema {
	return &sdk.Schema{ID: id, DB: "shop", Table: name, Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt, Native: "bigint"},
		{Name: "note", Type: sdk.TypeString, Native: "varchar(100)", Nullable: true}}}
}

// Script is a log and how it is cut into batches.
type Script struct {
	Txs []Tx
	// RowsMax is the bound of a batch: a transaction with more rows is handed out
	// in parts. 0 is cdc.BatchRowsMax.
	RowsMax int
	// Together returns how many whole transactions the next batch may take, and
	// Part how many rows the next part of a large one may; nil for as many as fit.
	Together, Part func() int
	// LateEnd says that a large transaction's end is seen only behind its last
	// row: its last part has no rows.
	LateEnd bool
	// Ends makes the log end behind the last transaction, as files do; otherwise
	// the source waits for more.
	Ends bool
	// Err is returned by Run in place of waiting; each one once.
	Err []error
}

// Source plays a Script. Positions are the number of transactions that lie
// before, as decimal text.
type Source struct {
	env     cdc.Env
	schemas []*sdk.Schema

	mu        sync.Mutex
	script    Script
	more      chan struct{} // closed and replaced by Append
	confirmed []sdk.Position
	starts    []cdc.Start
	closed    bool
}

// New returns a source that plays s.
func New(s Script, env cdc.Env) *Source {
	if s.RowsMax == 0 {
		s.RowsMax = cdc.BatchRowsMax
	}
	src := &Source{env: env, script: s, more: make(chan struct{})}
	src.learn(s.Txs)
	return src
}

func (s *Source) learn(txs []Tx) {
	for _, tx := range txs {
		for _, r := range tx.Rows {
			for int(r.Schema.ID) >= len(s.schemas) {
				s.schemas = append(s.schemas, nil)
			}
			s.schemas[r.Schema.ID] = r.Schema
		}
	}
}

// Append adds transactions to the end of the log. Their tables must have been
// in the script from the start.
func (s *Source) Append(txs ...Tx) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script.Txs = append(s.script.Txs, txs...)
	close(s.more)
	s.more = make(chan struct{})
}

// Confirmed returns the positions that Confirm was called with.
func (s *Source) Confirmed() []sdk.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sdk.Position(nil), s.confirmed...)
}

// Starts returns where each Run began.
func (s *Source) Starts() []cdc.Start {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]cdc.Start(nil), s.starts...)
}

// Closed reports whether Close was called.
func (s *Source) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Preflight finds nothing.
func (s *Source) Preflight(context.Context) error { return nil }

// Initial returns the beginning of the script.
func (s *Source) Initial(context.Context) (sdk.Position, error) { return position(0), nil }

// Head returns the end of the script.
func (s *Source) Head(context.Context) (sdk.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return position(len(s.script.Txs)), nil
}

// Covers compares two positions.
func (s *Source) Covers(pos, head sdk.Position) (bool, error) {
	a, err := number(pos)
	if err != nil {
		return false, err
	}
	b, err := number(head)
	return a >= b, err
}

// Confirm notes the position.
func (s *Source) Confirm(pos sdk.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed = append(s.confirmed, pos)
}

// Status says that the source streams.
func (s *Source) Status() cdc.Status { return cdc.Status{State: cdc.StateStreaming} }

// Close notes that it was called.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func position(n int) sdk.Position { return sdk.Position(strconv.Itoa(n)) }

func number(p sdk.Position) (int, error) {
	n, err := strconv.Atoi(string(p))
	if err != nil {
		return 0, fmt.Errorf("%q is not a position of a script", p)
	}
	return n, nil
}

// Run plays the script from start.
func (s *Source) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) error {
	next, err := number(start.Base)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.starts = append(s.starts, start)
	s.mu.Unlock()
	if start.Tx != "" {
		if next, err = s.find(next, start.Tx); err != nil {
			return err
		}
	}
	p := player{s: s, emit: emit}
	for {
		txs, more, ended, err := s.from(next)
		switch {
		case len(txs) > 0:
			n, err := p.play(ctx, next, txs)
			if err != nil {
				return err
			}
			next += n
		case err != nil:
			return err
		case ended:
			return cdc.ErrEnd
		default:
			select {
			case <-more:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

func (s *Source) find(from int, id string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := from; i < len(s.script.Txs); i++ {
		if s.script.Txs[i].ID == id {
			return i, nil
		}
	}
	return 0, fault.New(fault.Fatal, "source_behind", id, "point the pipeline at the server that it read before",
		"the log does not hold transaction %s", id)
}

// from returns what is left of the log, and what to do when that is nothing.
func (s *Source) from(n int) (txs []Tx, more <-chan struct{}, ended bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	txs = s.script.Txs[n:]
	if len(txs) == 0 && len(s.script.Err) > 0 {
		err = s.script.Err[0]
		s.script.Err = s.script.Err[1:]
	}
	return txs, s.more, s.script.Ends, err
}

// player hands out batches. It keeps as many builders as there are batches
// under way, so that playing allocates little.
type player struct {
	s    *Source
	emit func(context.Context, *cdc.Batch) error
	free sync.Pool
}

// play hands out one batch, or all parts of one large transaction, and returns
// how many transactions that was.
func (p *player) play(ctx context.Context, first int, txs []Tx) (int, error) {
	max := p.s.script.RowsMax
	if len(txs[0].Rows) > max {
		return 1, p.parts(ctx, first, &txs[0])
	}
	together := len(txs)
	if p.s.script.Together != nil {
		together = p.s.script.Together()
	}
	b, rows, n := p.builder(), 0, 0
	for n < len(txs) && n < together && len(txs[n].Rows) <= max && rows+len(txs[n].Rows) <= max {
		if tx := &txs[n]; len(tx.Rows) > 0 {
			p.begin(b, first+n, tx, 0)
			p.rows(b, tx, 0, len(tx.Rows))
			b.EndTx(uint64(100*(first+n)+99), 0)
			rows += len(tx.Rows)
		}
		n++
	}
	return n, p.hand(ctx, b, position(first), position(first+n))
}

// parts hands out a transaction that does not fit one batch.
func (p *player) parts(ctx context.Context, n int, tx *Tx) error {
	for from := 0; from < len(tx.Rows); {
		size := p.s.script.RowsMax
		if p.s.script.Part != nil {
			size = p.s.script.Part()
		}
		to := min(from+size, len(tx.Rows))
		if from == 0 { // a part is never all of it
			to = min(to, len(tx.Rows)-1)
		}
		b, end := p.builder(), position(n)
		p.begin(b, n, tx, from)
		p.rows(b, tx, from, to)
		if to == len(tx.Rows) && !p.s.script.LateEnd {
			b.EndTx(uint64(100*n+99), 0)
			end = position(n + 1)
		}
		if err := p.hand(ctx, b, position(n), end); err != nil {
			return err
		}
		from = to
	}
	if !p.s.script.LateEnd {
		return nil
	}
	b := p.builder()
	p.begin(b, n, tx, len(tx.Rows))
	b.EndTx(uint64(100*n+99), 0)
	return p.hand(ctx, b, position(n), position(n+1))
}

func (p *player) builder() *sdk.Builder {
	b, ok := p.free.Get().(*sdk.Builder)
	if !ok {
		b = &sdk.Builder{}
	}
	b.Reset()
	return b
}

func (p *player) begin(b *sdk.Builder, n int, tx *Tx, before int) {
	b.BeginTx(sdk.TxInfo{ID: []byte(tx.ID), File: []byte("binlog.000001"), PosStart: uint64(100 * n), Time: tx.Time,
		Server: 1, RowsBefore: uint64(before)})
}

func (p *player) rows(b *sdk.Builder, tx *Tx, from, to int) {
	for i := from; i < to; i++ {
		r := &tx.Rows[i]
		b.BeginRow(r.Schema, sdk.OpInsert, sdk.RowAfter, uint64(i))
		b.After().SetSlot(0, uint64(r.Key))
		b.SetAppended(b.After(), 1, append(b.Append(), r.Text...))
		b.EndRow()
	}
}

func (p *player) hand(ctx context.Context, b *sdk.Builder, begin, end sdk.Position) error {
	batch := b.Seal(p.s.schemas)
	var held *budget.Reservation
	if p.s.env.Share != nil {
		var err error
		if held, err = p.s.env.Share.Acquire(ctx, int64(batch.Size())); err != nil {
			return err
		}
	}
	return p.emit(ctx, &cdc.Batch{Batch: batch, Begin: begin, End: end, Read: time.Now(), LogPos: "script:" + string(end),
		LogBytes: int64(batch.Size()), Held: held, Recycle: func() { p.free.Put(b) }})
}
