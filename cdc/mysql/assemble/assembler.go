package assemble

import (
	"context"
	"errors"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/schema"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// idleInterval is how often a position without rows is told while filtered
// transactions keep coming. Heartbeats and rotations tell it at once.
const idleInterval = time.Second

// Catalog reads definitions of tables from the server, for a log that does not
// describe them completely.
type Catalog interface {
	// Table returns the table's definition as it is now, and a position of the
	// server's log that the definition is not newer than: whatever changes the
	// table later lies behind it. It returns nil for a table that is not there.
	Table(ctx context.Context, name tables.Name) (*schema.Table, *position.Position, error)
	// Charset returns the default character set of a database, and a position
	// likewise; "" for a database that is not there.
	Charset(ctx context.Context, db string) (string, *position.Position, error)
}

// Options say what an Assembler reads and where the batches go.
type Options struct {
	Env           cdc.Env
	Filter        *tables.Filter
	Catalog       Catalog // nil: the log must describe its tables itself
	EventBytesMax int
	// KeepGTIDs says that positions carry sets of GTIDs; without it file and
	// position decide, and GTIDs only name transactions.
	KeepGTIDs bool
	// PassOversize leaves out rows of followed tables in events beyond
	// EventBytesMax, and puts them on record.
	PassOversize bool
	// Files says that File names the files; what the log says of its next one
	// does not count.
	Files bool
	Emit  func(context.Context, *cdc.Batch) error
	// Blocked is told true before a batch is handed out while the reading may be
	// broken off and begun again at the boundary, and false behind it; nil for
	// nobody. The budget and the pipeline may take long over a batch.
	Blocked func(bool)
	// Altered is told of each statement that may have changed followed tables'
	// definitions, and which; nil for nobody.
	Altered func(match func(tables.Name) bool)
	// Eager is asked whether positions without rows are told whenever nothing
	// more is there to read; nil for no.
	Eager func() bool
	// Log reads large prepared transactions again, and those that were prepared
	// before reading began; nil refuses them.
	Log Log
	// HeldBytesMax bounds the events of prepared transactions that are kept in
	// memory instead; 0 takes 4 MiB.
	HeldBytesMax int
}

// File goes to the beginning of a file, with Options.Files.
func (a *Assembler) File(name string) error {
	if a.at.file == name {
		return nil
	}
	a.notThis = 0
	err := a.unfinished()
	a.at.rotate(name, position.FirstPos)
	return err
}

// Assembler makes batches of raw events. It is used by one goroutine, except
// for Stats.
type Assembler struct {
	o      Options
	parser *binlog.Parser
	pool   pool
	stats  stats

	at      place
	b       *sdk.Builder
	begin   sdk.Position // the boundary before the first transaction of b
	tx      tx
	tables  schemas
	defs    definitions
	until   string // Start.Tx, until it comes
	done    uint64 // rows of it that are delivered
	notThis uint64 // transactions of the first file that begin before it are done
	sent    sent
	xa      prepared

	refused  bool      // emit returned an error
	suspect  bool      // rows that were read may have been decoded wrongly
	logBytes int64     // since the last batch
	told     uint64    // place.moved at the last batch
	toldAt   time.Time // when that was
}

// sent is how much of a transaction had been handed out when its reading was
// broken off.
type sent struct {
	id   string
	rows uint64
}

// New returns an Assembler; Begin must be called before events.
func New(o Options) *Assembler {
	if o.HeldBytesMax == 0 {
		o.HeldBytesMax = heldBytesMax
	}
	return &Assembler{o: o, tables: newSchemas(), defs: newDefinitions(o.Filter), xa: prepared{bytesMax: o.HeldBytesMax}}
}

// Begin starts reading at a position: the first events must be those that the
// server or the file has there.
func (a *Assembler) Begin(from *position.Position, start cdc.Start) {
	a.until, a.done = start.Tx, start.Rows
	a.sent = sent{}
	a.restart(from)
	a.defs.begin(from, a.o.Filter)
	a.told, a.toldAt = a.at.moved, a.o.Env.Now()
}

// Again begins anew at the last boundary after a lost connection, and returns
// it. What was read of an unfinished transaction is forgotten, but what was
// handed out of it is not handed out again.
func (a *Assembler) Again() *position.Position {
	if a.tx.open && a.tx.handed > 0 && (a.sent.id == "" || a.tx.handed > a.sent.rows) {
		a.sent = sent{id: string(a.tx.id), rows: a.tx.handed}
	}
	if a.tx.open && a.tx.sought && a.tx.handed == 0 {
		a.until = string(a.tx.id)
	}
	from := a.at.position()
	told := a.told == a.at.moved
	a.restart(from)
	if told {
		a.told = a.at.moved
	}
	return from
}

func (a *Assembler) restart(from *position.Position) {
	if a.tx.open && a.tx.building {
		a.b.DropTx()
	}
	moved := a.at.moved
	a.at = newPlace(from)
	a.parser = a.newParser()
	a.at.moved += moved
	a.tx = tx{id: a.tx.id[:0]}
	a.tables.forgetMaps()
	a.defs.history.Rollback()
	a.notThis = 0
	if from.GTIDs == nil {
		a.notThis = from.Pos
	}
	if a.b == nil {
		a.b = a.pool.get()
	}
}

func (a *Assembler) newParser() *binlog.Parser {
	flavor := binlog.FlavorMySQL
	if a.at.flavor == gtid.MariaDB {
		flavor = binlog.FlavorMariaDB
	}
	return binlog.NewParser(binlog.Options{Flavor: flavor, VerifyChecksum: true, EventBytesMax: a.o.EventBytesMax})
}

// Position returns the last boundary between transactions.
func (a *Assembler) Position() *position.Position { return a.at.position() }

// Server names the server that the events come from now.
func (a *Assembler) Server(name string) { a.at.servedBy(name) }

// Waiting returns the transaction that the log must still hold: the one that is
// looked for, or else the one that a lost connection cut off; "" for none.
func (a *Assembler) Waiting() string {
	if a.until != "" {
		return a.until
	}
	return a.sent.id
}

// delivering reports whether the log stands before the end of a transaction that
// is delivered in part or in whole: a position before it would be a step back.
func (a *Assembler) delivering() bool {
	return a.Waiting() != "" || a.tx.open && (a.tx.sought || a.tx.handed > 0)
}

// Seeking reports whether what is read now was delivered before.
func (a *Assembler) Seeking() bool {
	if !a.tx.open {
		return a.Waiting() != ""
	}
	return a.until != "" || a.tx.skip || a.tx.rows < a.tx.free
}

// Event takes the next raw event of the log; raw is not kept.
func (a *Assembler) Event(ctx context.Context, raw []byte) error {
	ev, err := a.parser.Parse(raw)
	if err != nil {
		return a.located(err)
	}
	a.logBytes += int64(len(raw))
	a.stats.event(len(raw))
	return a.located(a.event(ctx, ev))
}

// located gives a fault of the decoder, which knows no file, its place. An error
// of emit is the pipeline's and stays as it is.
func (a *Assembler) located(err error) error {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || a.refused {
		return err
	}
	c := *f
	place := position.Place(a.at.file, a.at.pos)
	switch {
	case c.Path == "":
		c.Path = place
	case c.Path != place:
		c.Path = place + ": " + c.Path
	}
	return &c
}

// fault returns a Fatal fault at the place of the reading.
func (a *Assembler) fault(code, hint, format string, args ...any) error {
	return fault.New(fault.Fatal, code, position.Place(a.at.file, a.at.pos), hint, format, args...)
}

// Flush emits all whole transactions that were read; a position that moved
// without rows is emitted about once a second. It is called when nothing more
// is there to read.
func (a *Assembler) Flush(ctx context.Context) error {
	a.stats.seen(a.o.Env.Now())
	return a.flush(ctx, false)
}

// flush emits what is whole; now tells also a position without rows at once.
func (a *Assembler) flush(ctx context.Context, now bool) error {
	if a.b.Rows() > 0 {
		switch {
		case !a.tx.building:
			return a.emit(ctx)
		case a.b.Txs() > 1:
			return a.split(ctx)
		}
		return nil
	}
	if a.told == a.at.moved || a.tx.building || a.delivering() {
		return nil
	}
	if now || a.o.Eager != nil && a.o.Eager() || a.o.Env.Now().Sub(a.toldAt) >= idleInterval {
		a.begin = a.at.encode()
		return a.emit(ctx)
	}
	return nil
}

// End emits what is left when the log ends. A transaction that the end cuts off
// is not emitted, nor does the position move behind its beginning.
func (a *Assembler) End(ctx context.Context) error {
	if a.tx.open && a.tx.building && a.b.Txs() == 1 {
		a.b.DropTx()
		a.tx.building = false
	}
	return a.flush(ctx, true)
}

// Fail emits the whole transactions that were read before an error which ends
// the reading: its place is then where delivery has stopped. They stay back
// where the error says that they themselves may be wrong. It returns why, with
// what went wrong on the way.
func (a *Assembler) Fail(ctx context.Context, why error) error {
	if a.refused || a.suspect || a.tx.open && (a.tx.sought || a.tx.handed > 0) {
		return why
	}
	if a.tx.open {
		a.dropTx()
	}
	if err := a.flush(ctx, true); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// split sends the whole transactions in front of the open one, which moves to a
// builder of its own.
func (a *Assembler) split(ctx context.Context) error {
	next := a.pool.get()
	a.b.MoveTx(next, a.tables.snapshot())
	if err := a.emit(ctx); err != nil {
		return err
	}
	a.pool.put(a.b)
	a.b = next
	a.begin = a.at.encode()
	return nil
}

// emit hands out the builder's batch and takes another builder. It waits for
// the byte budget first.
func (a *Assembler) emit(ctx context.Context) error {
	b := a.b
	batch := &cdc.Batch{
		Batch:    b.Seal(a.tables.snapshot()),
		Begin:    a.begin,
		End:      a.at.encode(),
		Read:     a.o.Env.Now(),
		LogBytes: a.logBytes,
		LogPos:   a.at.position().Place(),
		Recycle:  func() { a.pool.put(b) },

		Definitions: a.defs.told,
	}
	a.defs.told = nil
	if a.o.Blocked != nil && !(a.tx.open && a.tx.handed > 0) {
		a.o.Blocked(true)
		defer a.o.Blocked(false)
	}
	if a.o.Env.Share != nil {
		held, err := a.o.Env.Share.Acquire(ctx, int64(batch.Size())+batch.Overhead())
		if err != nil {
			a.refused = true
			return err
		}
		batch.Held = held
	}
	a.stats.batch(b.Rows(), batch)
	a.b = a.pool.get()
	a.logBytes, a.told, a.toldAt = 0, a.at.moved, batch.Read
	if err := a.o.Emit(ctx, batch); err != nil {
		a.refused = true
		return err
	}
	return nil
}
