package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/sdk"
)

// Database is what a Copier needs of the server that the log is of. It is safe
// for concurrent use.
type Database interface {
	// Open connects.
	Open(ctx context.Context) (Conn, error)
	// Mendable reports whether another connection may get further.
	Mendable(err error) bool
	// Covers reports whether having read up to pos means having read all that
	// other stands for. Cursors in them do not matter.
	Covers(pos, other sdk.Position) (bool, error)
	// Attach puts a cursor into a position that has none.
	Attach(pos sdk.Position, cursor []byte) sdk.Position
}

// Conn is a connection that reads tables. It is used by one goroutine.
type Conn interface {
	// Tables returns the tables that are followed, less those of the patterns that
	// are copied already, in the order in which they should be begun.
	Tables(ctx context.Context, copied []string) ([]Name, error)
	// Plan returns how a table is read, by its definition of now; nil for one
	// that is not there any more, or, for a request, not followed. r is nil for the
	// copy that the configuration asks for.
	Plan(ctx context.Context, n Name, r *Request) (*Table, error)
	// Low returns a position of the log such that all before it is visible to
	// the View that follows.
	Low(ctx context.Context, t *Table) (sdk.Position, error)
	// View opens a view of the table as it is at one moment, and returns a position
	// of the log such that all that the view shows lies before it: the log's end,
	// read when the view is open.
	View(ctx context.Context, t *Table) (sdk.Position, error)
	// Chunk reads the next rows of a part of a table out of the view into rows, in
	// the order of their keys, and ends the view. Before the first row it says
	// Rows.Begin, behind each it asks Rows.Enough. An error of rows is returned, with
	// others perhaps. The error is ErrChanged where the table is not as it was planned.
	Chunk(ctx context.Context, t *Table, r Range, l Limits, rows *Rows) (*Chunk, error)
	// Load returns how many threads the server has at work.
	Load(ctx context.Context) (int, error)
	Close() error
}

// ErrChanged is what Conn.Chunk returns for a table whose definition is not the
// planned one.
var ErrChanged = errors.New("the table's definition has changed")

// Table is how a table is read.
type Table struct {
	Name
	// Schema is that of the rows, with the number that it has in the stream's
	// batches.
	Schema *sdk.Schema
	// Key is the columns that tell the table's rows apart; empty for a table that
	// has none, which is read in one chunk.
	Key   []int
	Print string // identifies Key: see Progress.Print
	Rows  int64  // estimated
	Plan  any    // the connection's own
	// Splits divides the table into parts, of at most so many, that may be read
	// side by side, by the keys between them; nil for one part.
	Splits func(ctx context.Context, parts int) ([]Key, error)
}

// Limits bound a chunk; it has one row at least, if there is one. Bytes are those
// that are held in memory: for a table without a key that is all of it.
type Limits struct{ Rows, Bytes int }

// Chunk is how far a view was read.
type Chunk struct {
	// Next is where the part goes on; empty for behind the last row.
	Next Key
	Last bool // nothing of the part is left
}

// Options are what a Copier is made with.
type Options struct {
	Database Database
	Emit     func(context.Context, *cdc.Batch) error
	// Patterns name the tables that are followed.
	Patterns []string
	Workers  int
	Limits   Limits          // the largest chunk
	Share    *budget.Share   // acquired before a batch is emitted; nil for none
	Held     *budget.Share   // acquired before a chunk is read; nil for none
	Limit    *budget.Limiter // of rows; nil for none. Bytes are the connection's to limit
	LoadMax  int             // threads at work beyond which reading pauses; 0 for no limit
	Last     bool            // nothing of the stream is handed on behind the copy
	Log      *slog.Logger
	Now      func() time.Time
	// Dormant says that no table is copied until somebody asks for it: positions
	// have no cursor until then.
	Dormant bool
	// Heard says that the cursor is what the sink's last message says, also where it
	// says nothing: what people asked for that is not in it is not there. Without it,
	// somebody may have moved the position.
	Heard bool
	// Ledger says whether the copy that the configuration asks for is to rest: it has
	// the number 0 there. nil for one that never rests.
	Ledger cdc.SnapshotLedger
}

// Copier copies tables beside the stream: see the package. Stream, Altered and
// Progress may be called while Run runs; Stream from one goroutine.
type Copier struct {
	o Options

	turn   turn     // held while a batch is handed on; taken before mu
	failed *refused // by Options.Emit; turn guards it

	mu      sync.Mutex
	at      sdk.Position // behind the stream's last batch, without cursor
	logPos  string
	inside  bool // the last batch ended inside a transaction
	cursor  Cursor
	text    []byte                         // the cursor, encoded
	windows map[Name][]*window             // open ones
	altered uint64                         // how often definitions of tables changed
	moved   chan struct{}                  // closed when at, inside or a window changes; nil while nobody waits
	request uint64                         // that is being copied; 0 for the configuration's copy
	tables  map[string]*table              // of it, by Name.String: what Progress tells
	order   []string                       // of tables
	wanted  int                            // tables of this run, begun or not
	why     string                         // why reading pauses
	asked   time.Time                      // when a worker last asked how busy the server is
	attach  struct{ in, out sdk.Position } // the last one, for this cursor
	names   map[*sdk.Schema]Name           // of the stream's schemas, while windows are open
	scratch []byte

	ending []ending // requests that are copied, and not confirmed
	heard  chan struct{}
	before struct { // of requests, and copies, before the one at work
		rows   uint64
		copied int
	}

	pool       pool
	touchedMax int // touchedBytesMax, unless a test wants less
}

// turn is a lock that is waited for with a context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// New returns a Copier that goes on at a cursor. at is where the stream begins;
// inside says that its first transaction has been delivered in part.
func New(o Options, c Cursor, at sdk.Position, logPos string, inside bool) *Copier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Workers = max(1, o.Workers)
	k := &Copier{o: o, turn: make(turn, 1), at: at, logPos: logPos, inside: inside, cursor: c.clone(),
		heard: make(chan struct{}, 1), windows: map[Name][]*window{}, tables: map[string]*table{}, names: map[*sdk.Schema]Name{}}
	if !o.Dormant || k.cursor.N > 0 || len(k.cursor.For) > 0 {
		k.text = k.cursor.Encode()
	}
	k.pool.rows, k.touchedMax = cdc.BatchRowsMax, touchedBytesMax
	return k
}

// Stream passes a batch of the log on, with the cursor in its positions, and
// takes note of the rows that it has.
func (c *Copier) Stream(ctx context.Context, b *cdc.Batch) error {
	if err := c.turn.take(ctx); err != nil {
		b.Release()
		return err
	}
	defer c.turn.give()
	if err := c.record(ctx, b); err != nil {
		b.Release()
		return err
	}
	if err := c.emit(ctx, b); err != nil {
		return errors.Unwrap(err)
	}
	return nil
}

// record notes the batch's rows in the open windows, and moves behind it. It is
// one step for whoever opens a window: the window either sees the rows, or
// begins behind them.
func (c *Copier) record(ctx context.Context, b *cdc.Batch) error {
	for {
		c.mu.Lock()
		full := c.full()
		if full == nil {
			break
		}
		c.mu.Unlock()
		select {
		case <-full: // a chunk that is being read: it won't be long
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer c.mu.Unlock()
	if len(c.windows) > 0 {
		c.note(b)
	}
	c.at, c.logPos, c.inside = b.End, b.LogPos, false
	if n := b.Txs(); n > 0 {
		c.inside = !b.Tx(n - 1).Ends()
	}
	b.Begin, b.End = c.attached(b.Begin), c.attached(b.End)
	c.wake()
	return nil
}

// attached returns the position with the cursor. The caller holds mu.
func (c *Copier) attached(pos sdk.Position) sdk.Position {
	if len(c.text) == 0 {
		return pos
	}
	if pos != c.attach.in {
		c.attach.in, c.attach.out = pos, c.o.Database.Attach(pos, c.text)
	}
	return c.attach.out
}

// setCursor makes a changed cursor the one that positions carry. The caller
// holds turn and mu.
func (c *Copier) setCursor() {
	c.cursor.N++
	c.text = c.cursor.append(c.text[:0])
	c.attach.in = ""
}

// wake wakes everybody who waits. The caller holds mu.
func (c *Copier) wake() {
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

// waiting returns what is closed at the next change. The caller holds mu.
func (c *Copier) waiting() <-chan struct{} {
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}

// boundary takes the turn between two transactions of the stream, and mu. ready
// is asked under both; until it says true, the stream goes on. An error of
// ready is returned. After an error neither is held.
func (c *Copier) boundary(ctx context.Context, ready func() (bool, error)) error {
	for {
		if err := c.turn.take(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		ok, err := !c.inside, error(nil)
		if ok && ready != nil {
			ok, err = ready()
		}
		if ok && err == nil {
			return nil
		}
		moved := c.waiting()
		c.mu.Unlock()
		c.turn.give()
		if err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell hands on a batch without rows, with the cursor as it is and what is to be
// told of a copy, if anything. The caller holds turn, and not mu.
func (c *Copier) tell(ctx context.Context, news *cdc.SnapshotNews) error {
	c.mu.Lock()
	pos := c.attached(c.at)
	b := &cdc.Batch{Batch: &sdk.Batch{}, Begin: pos, End: pos, Read: c.o.Now(), LogPos: c.logPos, Snapshot: true, News: news}
	c.mu.Unlock()
	return c.emit(ctx, b)
}

// refused is an error of Options.Emit, which no other connection mends.
type refused struct{ error }

func (r *refused) Unwrap() error { return r.error }

// emit hands on a batch. After an error nothing is handed on any more, by nobody:
// what was handed on is all that lies before it. The caller holds turn.
func (c *Copier) emit(ctx context.Context, b *cdc.Batch) error {
	if c.failed == nil {
		if err := c.o.Emit(ctx, b); err != nil {
			c.failed = &refused{err}
		}
	} else {
		b.Release()
	}
	if c.failed != nil {
		return c.failed
	}
	return nil
}

// Altered says that the log has come to a statement that may have changed the
// tables that match says, in whatever way: what was read of them and not handed
// on is read again.
func (c *Copier) Altered(match func(Name) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.altered++
	for name, list := range c.windows {
		if match(name) {
			for _, w := range list {
				w.stale = true
			}
		}
	}
	c.wake()
}
