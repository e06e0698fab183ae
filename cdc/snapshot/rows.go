package snapshot

import (
	"strconv"
	"sync"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

// batchBytes is when a batch of a copy is full. Each has a cursor to itself, and
// each of its rows a transaction: it is twice the log's.
const batchBytes = 2 * cdc.BatchBytesMax

// Rows takes the rows of a chunk and makes of them, while they are read, the
// batches that are handed on: each row is a transaction of its own. It holds those
// that are not handed on yet.
type Rows struct {
	pool    *pool
	keyed   bool
	id      []byte // of a transaction: what all have in common, then the row's key
	stem    int    // the length of what all have in common
	file    []byte // of the log, as of now
	schemas []*sdk.Schema
	full    func() error // called when the last batch is full and a row comes; nil for nothing
	enough  bool

	parts []part // that are held
	n     int    // rows of them
	bytes int    // of all of them but the last
	taken int    // rows in all
}

// part is a batch of a chunk's rows.
type part struct {
	b     *sdk.Builder
	batch *sdk.Batch
	first int // its first row's number, of those that are held
}

func newRows(p *pool, request uint64, run *cdc.Run, t *Table, rangeNumber int, file []byte) *Rows {
	r := &Rows{pool: p, keyed: len(t.Key) > 0, file: file}
	r.id = TxID(nil, request, run, t.Name.String(), rangeNumber, nil)
	r.stem = len(r.id)
	return r
}

// Begin says what the schemas of the rows are, by id.
func (r *Rows) Begin(schemas []*sdk.Schema) { r.schemas = schemas }

// Enough reports whether the row that was added is the last one to be read.
func (r *Rows) Enough() bool { return r.enough }

// Add takes the next row: key appends its key to dst, and row the row itself, as
// number 0, to the transaction that is open in b. It may hand on those before,
// and take long. After an error, of key, of row or of its own, no row may follow.
func (r *Rows) Add(key func(dst []byte) ([]byte, error), row func(b *sdk.Builder) error) (err error) {
	id := r.id[:r.stem]
	if !r.keyed {
		id = strconv.AppendInt(id, int64(r.n), 10)
	} else if id, err = key(id); err != nil {
		return err
	}
	r.id = id
	b, err := r.open()
	if err != nil {
		return err
	}
	b.BeginTx(sdk.TxInfo{ID: id, File: r.file})
	if err := row(b); err != nil {
		return err
	}
	b.EndTx(0, 0)
	r.n++
	r.taken++
	return nil
}

// open returns the builder that has room.
func (r *Rows) open() (*sdk.Builder, error) {
	if i := len(r.parts) - 1; i >= 0 {
		b := r.parts[i].b
		if b.Rows() < r.pool.rows && b.Size() < batchBytes {
			return b, nil
		}
		if r.full != nil && r.keyed {
			if err := r.full(); err != nil {
				return nil, err
			}
		}
		if len(r.parts) > 0 { // not handed on
			r.bytes += b.Size()
		}
	}
	return r.next(), nil
}

// next begins another batch.
func (r *Rows) next() *sdk.Builder {
	r.parts = append(r.parts, part{b: r.pool.get(), first: r.n})
	return r.parts[len(r.parts)-1].b
}

// Len returns how many rows are held.
func (r *Rows) Len() int { return r.n }

// Bytes returns how much memory the rows take that are held.
func (r *Rows) Bytes() int {
	if len(r.parts) == 0 {
		return 0
	}
	return r.bytes + r.parts[len(r.parts)-1].b.Size()
}

// seal ends what is held: it is to be handed on. There is one part at least
// afterwards: without rows it tells how far the copy has come.
func (r *Rows) seal() {
	if len(r.parts) == 0 {
		r.next()
	}
	for i := range r.parts {
		p := &r.parts[i]
		p.batch = p.b.Seal(r.schemas)
	}
}

// reset makes room for more, behind what is handed on.
func (r *Rows) reset() { r.parts, r.n, r.bytes = r.parts[:0], 0, 0 }

// row returns row i of those that are held, once sealed; false for one that is
// handed on.
func (r *Rows) row(i int) (row sdk.Row, ok bool) {
	low, high := 0, len(r.parts)
	for high-low > 1 {
		if mid := (low + high) / 2; r.parts[mid].first <= i {
			low = mid
		} else {
			high = mid
		}
	}
	p := &r.parts[low]
	if p.batch == nil {
		return row, false
	}
	return p.batch.Row(i - p.first), true
}

// lastKey returns the key of a part's last row, nothing for a part without rows.
func (r *Rows) lastKey(p *part) Key {
	if p.batch.Rows() == 0 {
		return ""
	}
	return Key(p.batch.Tx(p.batch.Txs() - 1).ID()[r.stem:])
}

// release gives the buffers back of what has not been handed on.
func (r *Rows) release() {
	for i := range r.parts {
		if p := &r.parts[i]; p.b != nil {
			r.pool.put(p.b)
			p.b, p.batch = nil, nil
		}
	}
}

// pool is a bounded free list of builders.
type pool struct {
	rows int // of a batch, the most
	max  int // builders that wait for use
	mu   sync.Mutex
	free []*sdk.Builder
}

func (p *pool) get() *sdk.Builder {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := new(sdk.Builder)
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	b.Reset()
	return b
}

// put takes a builder back, unless it has grown for rows that are rare.
func (p *pool) put(b *sdk.Builder) {
	if b.Cap() > 4*batchBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < p.max {
		p.free = append(p.free, b)
	}
}

// keep says how many builders may wait for use, of whatever wait now too.
func (p *pool) keep(builders int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.max = builders; len(p.free) > p.max {
		clear(p.free[p.max:])
		p.free = p.free[:p.max]
	}
}
