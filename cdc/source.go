package cdc

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/sdk"
)

// Source reads one database's log. A Source is used by one pipeline; it starts
// no goroutine that outlives Run, and holds no connection after Run or Close
// has returned.
type Source interface {
	// Preflight checks all that must be so before reading: reachable, allowed,
	// row-based log. It returns every finding it can, joined by errors.Join, each
	// a fault with a hint.
	Preflight(ctx context.Context) error

	// Initial returns the position at which a pipeline without any history
	// begins, as the source's configuration says, after checking what only a
	// beginning needs: that the place can be read from, and that the followed
	// tables are there, which later on may be dropped.
	Initial(ctx context.Context) (sdk.Position, error)

	// Head returns the position of the log's end as of now; for files, of the
	// end of the last file.
	Head(ctx context.Context) (sdk.Position, error)

	// Covers reports whether having read up to pos means having read all that
	// head stands for.
	Covers(pos, head sdk.Position) (bool, error)

	// Run reads from the start and hands every batch to emit, in commit order,
	// until ctx ends, the log ends (io.EOF, files only) or something is wrong.
	// It reconnects by itself, always from a commit boundary, and returns only
	// what reconnecting can't mend. emit blocks while the byte budget is used up;
	// after an error from emit, Run returns it.
	Run(ctx context.Context, start Start, emit func(context.Context, *Batch) error) error

	// Confirm tells the source that everything before pos is delivered and
	// checkpointed. It must not block.
	Confirm(pos sdk.Position)

	// Status returns what the source knows of itself, at any time, from any goroutine.
	Status() Status

	io.Closer
}

// ErrEnd is what Run returns at the end of a log that ends: files.
var ErrEnd = io.EOF

// Start says where reading begins.
//
// With Tx empty, Base is exact: everything before it is done, nothing behind
// it. Otherwise delivery stopped inside or at the end of transaction Tx, which
// lies at or behind Base: the source reads from Base, skips whole transactions
// up to Tx without handing them out, and hands Tx out again from its first row,
// so that what follows from a transaction's shape stays the same however often
// delivery is interrupted; nor is a position before Tx's end handed out without
// rows. The pipeline drops the rows that are done. When Tx never comes, Run
// returns a fault of code "source_behind".
type Start struct {
	Base sdk.Position
	Tx   string
	Rows uint64 // of Tx that are done: they are handed out, but not limited in speed
	// Lost says that the sink has lost messages behind Base that it had confirmed.
	Lost bool
	// Again is closed once all is handed out that was delivered before and is made
	// again: until then no table is copied that somebody asked for. nil for nothing.
	Again <-chan struct{}
}

// Batch is rows with the positions that frame them. A Batch without rows only
// moves the position: transactions without followed rows, heartbeats, rotations.
type Batch struct {
	*sdk.Batch

	// Begin is the exact position before the transaction of the first row began:
	// reading from Begin meets all of the batch's transactions whole.
	Begin sdk.Position
	// End is the exact position behind the last transaction that ended in or
	// before this batch. Inside a large transaction End equals Begin.
	End sdk.Position

	// Read is when the batch's last byte was read from the log.
	Read time.Time
	// LogBytes is how many bytes of log were read for the batch, followed or not.
	LogBytes int64
	// LogPos names End's place for people: "binlog.000007:4711".
	LogPos string

	// Snapshot says that the rows were read from tables, not from the log, or that
	// the copy of the tables moved: the positions before and behind it differ in
	// more than what the log tells.
	Snapshot bool

	// News is what is to be told of a copy of tables, at End; nil for nothing. A
	// batch with news has no rows, and lies between two transactions. Its message and
	// its End belong together: who resumes behind the one has the other.
	News *SnapshotNews

	// Definitions is what the source has put into its SchemaStore since the batch
	// before, and what it would have put had an earlier run not done so. A sink
	// that keeps it lets the history be rebuilt where the store is lost.
	Definitions []Definition

	// Held is the byte budget that the batch holds; whoever ends the batch's
	// journey calls Release.
	Held *budget.Reservation
	// Recycle gives the batch's buffers back to the source; nil for none.
	Recycle func()
}

// Definition is a record of a SchemaStore on its way to the sink.
type Definition struct {
	Behind sdk.Position // as in SchemaStore.Put
	DB     string
	Table  string // empty for a record of a database
	Record []byte // as in SchemaStore.Put; JSON
}

// Become gives the batch's buffers back to the source: what was made of the rows
// takes their place, and as many bytes of the budget. The rows must not be used
// afterwards; Release is still due.
func (b *Batch) Become(bytes int64) {
	b.Held.Resize(bytes)
	b.recycle()
}

// Release ends the batch's journey: budget and buffers go back. The batch must
// not be used afterwards. It may be called once, from any goroutine.
func (b *Batch) Release() {
	b.Held.Release()
	b.recycle()
}

func (b *Batch) recycle() {
	b.Batch = nil
	if b.Recycle != nil {
		b.Recycle()
		b.Recycle = nil
	}
}

// Overhead is what a batch takes beside its rows: the budget to be acquired is
// the sum of both.
func (b *Batch) Overhead() int64 { return batchOverhead + int64(len(b.Begin)+len(b.End)) }

// batchOverhead is, roundly, the bytes of a batch without rows, with its place in
// the queues up to the checkpoint.
const batchOverhead = 2 << 10

// Bounds of a batch: whole transactions up to these, or a part of a larger one.
const (
	BatchRowsMax  = 512
	BatchBytesMax = 64 << 10
)

// Env is what a source gets from its surroundings.
type Env struct {
	Pipeline string
	Log      *slog.Logger
	Share    *budget.Share   // acquired before a batch is emitted; nil for none
	Limit    *budget.Limiter // acts on the read; nil for none
	Schemas  SchemaStore     // nil keeps definitions in memory only
	Gaps     GapLedger       // nil for none
	Requests SnapshotLedger  // of copies of tables; nil for none
	// Chunks is acquired for rows of tables that wait for the log to come as far;
	// nil for none. It must not be Share: the log needs that to come further.
	Chunks *budget.Share
	Now    func() time.Time
}

// SchemaStore keeps the history of table definitions of one pipeline, for
// servers whose log does not describe its tables completely.
type SchemaStore interface {
	// Put makes durable, before it returns, what the source knows of a table, or
	// of a database's defaults, behind the position. The record's form is the
	// source's own: it holds more than an sdk.Schema, so that the log's later
	// statements can be applied to it.
	Put(behind sdk.Position, record []byte) error
	// Each calls f for all records in the order in which they were put. f must
	// not keep record.
	Each(f func(behind sdk.Position, record []byte) error) error
}

// Kind is a kind of source: one key under `source:` in the configuration.
type Kind struct {
	Name string // the key: "mysql"
	// NewConfig returns a pointer to the kind's configuration struct, filled
	// with its defaults. The struct may have Validate() []*fault.Fault, whose
	// paths are keys within it ("tables[1]").
	NewConfig func() any
	// Open makes a source from what NewConfig returned. It connects to nothing.
	Open func(config any, env Env) (Source, error)
	// Examine looks at the server that a configuration names, changing nothing,
	// and says for each thing how it is and what mends it; nil for a kind that
	// has nothing to look at. Preflight refuses what can't work; Examine also
	// tells what weakens a promise.
	Examine func(ctx context.Context, config any, e Examination) []checkup.Result
	// FromDSN returns a configuration that reads some tables of the server that
	// a DSN names; nil when the DSN is another kind's, or for a kind without.
	FromDSN func(dsn string, tables []string) any
}

// Examination is what Kind.Examine needs to know.
type Examination struct {
	Pipeline string
	Now      func() time.Time
	// Delivered is when the last transaction that the pipeline has delivered was
	// committed, and LogPos behind it, for people, as in Batch; zero and empty
	// where that is not known.
	Delivered time.Time
	LogPos    string
	// Kept is how long the sink keeps messages; 0 for ever, or where it is not known.
	Kept time.Duration
}

// State is what a source is doing.
type State string

// The states of a source.
const (
	StateConnecting State = "connecting"
	StateStreaming  State = "streaming"
	StateWaiting    State = "reconnecting" // between attempts; Reason says why
	// StateBehind: no server that answers has all that was delivered; it is asked
	// again, and so are the others of a list.
	StateBehind  State = "source_behind"
	StateStopped State = "stopped"
)

// Status is a source's account of itself.
type Status struct {
	State      State
	Reason     string // of a state that is not StateStreaming
	Since      time.Time
	Position   sdk.Position // behind the last transaction read
	LogPos     string       // the same for people
	Reconnects uint64
	BytesRead  uint64
	RowsRead   uint64
	TxRead     uint64
	LastEvent  time.Time // when the last event, heartbeats included, came
	CommitTime time.Time // of the last transaction read
	Server     string    // that is read, or was last: "db1:3306"
	// Snapshot is how far the copy of the tables has come; nil for a source that
	// copies none.
	Snapshot *Snapshot
	// Retained is until when the server keeps the log that is not read yet, by its
	// own settings; zero when it keeps it for ever, or does not say.
	Retained time.Time
}

// Snapshotter is what a source has that reads tables beside the log.
type Snapshotter interface {
	// Behind returns the exact position behind a row that was read from a table:
	// the one whose place has the transaction tx, delivered behind base. whole
	// says that all messages of the row were delivered; otherwise the position is
	// before the row, which is read again and given whole. ok is false for a
	// transaction of the log.
	Behind(base sdk.Position, tx string, whole bool) (pos sdk.Position, ok bool, err error)
	// Copied reports whether the copy of tables has moved between two positions of
	// one stream: rows of then can't be read again as they were.
	Copied(from, to sdk.Position) (bool, error)
}

// Snapshot is how far the copy of tables has come.
type Snapshot struct {
	Complete bool            // everything is copied
	Waiting  string          // why reading pauses; empty while it does not
	Rows     uint64          // read by this run of the source
	Copied   int             // tables that this run has finished
	Left     int             // tables that are not begun yet
	Tables   []SnapshotTable // that are begun and not finished, in the order of their beginning
	// Request is the request whose tables these are; 0 for the copy that the
	// configuration asks for.
	Request uint64
	// Requests are those that are begun, Past the highest number that ever was.
	Requests []SnapshotWork
	Past     uint64
}

// SnapshotTable is how far the copy of a table has come.
type SnapshotTable struct {
	DB, Table     string
	Rows          uint64 // read so far, over all runs
	RowsEstimated uint64 // in all: the server's estimate, corrected as it goes
	Chunks        uint64 // of this run
	RowsPerSecond float64
	Left          time.Duration // until it is done, by that rate; 0 while not known
}
