package assemble

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/sdk"
)

// savepointsMax bounds the savepoints that are told apart; the rest count as
// set at the transaction's beginning, which errs on the loud side.
const savepointsMax = 256

// tx is the transaction that is being read.
type tx struct {
	open       bool
	begun      bool // BEGIN, or MariaDB's group: it ends with XID, COMMIT or ROLLBACK
	standalone bool // MariaDB: it ends with its only statement
	skip       bool // handed out long ago
	before     bool // it lies in front of where reading begins
	sought     bool // it is Start.Tx
	xa         bool // between XA START and XA PREPARE: its rows are not decoded yet
	building   bool // it is in the builder

	id     []byte
	gtid   gtid.ID
	file   string
	start  uint64 // log position of the first event
	time   int64  // commit time, microseconds
	server uint32

	rows       uint64 // followed rows so far
	free       uint64 // as many are delivered already, and not limited in speed
	handed     uint64 // of them in batches that were emitted
	partRows   int    // in the open part,
	partBytes  int    // and its size: depends on nothing but the rows
	savepoints map[string]uint64
}

// beginGTID opens a transaction at its GTID, which may be anonymous.
func (a *Assembler) beginGTID(ev binlog.Event, id gtid.ID, time int64) error {
	if err := a.unfinished(); err != nil {
		return err
	}
	a.openTx(ev, id)
	if time != 0 {
		a.tx.time = time
	}
	return a.seek()
}

func (a *Assembler) openTx(ev binlog.Event, id gtid.ID) {
	t := &a.tx
	*t = tx{open: true, id: t.id[:0], gtid: id, file: a.at.file, start: a.at.start(ev.Header),
		time: int64(ev.Timestamp) * 1e6, server: ev.ServerID}
	if id.IsZero() {
		t.id = append(append(t.id, t.file...), ':')
		t.id = appendUint(t.id, t.start)
	} else {
		t.id = id.Append(t.id)
	}
}

// unfinished drops a transaction that another one's beginning, or a new file,
// cuts off: the server ended before it committed, so it never was.
func (a *Assembler) unfinished() error {
	t := &a.tx
	if !t.open {
		return nil
	}
	if t.handed > 0 {
		return a.fault("transaction_cut", "copy the followed tables' content anew: rows that the server did not commit were handed out",
			"transaction %s, of which %d rows were handed out, has no end in the log", t.id, t.handed)
	}
	a.dropTx()
	return nil
}

// dropTx forgets the open transaction and its rows.
func (a *Assembler) dropTx() {
	if a.tx.building {
		a.b.DropTx()
	}
	a.defs.history.Rollback()
	a.tx.open, a.tx.building = false, false
}

// seek compares the transaction with what is looked for: the one at which the
// last run stopped, and the one that a lost connection cut off.
func (a *Assembler) seek() error {
	t := &a.tx
	if a.notThis > 0 && t.start < a.notThis {
		t.skip, t.before = true, true
		return nil
	}
	a.notThis = 0
	if a.until != "" {
		switch {
		case string(t.id) == a.until:
			a.until, t.free, t.sought = "", a.done, true
		case a.passed():
			return a.behind("transaction %s follows", t.id)
		default:
			t.skip = true
			return nil
		}
	}
	if a.sent.id != "" && string(t.id) != a.sent.id {
		id := a.sent.id
		return a.fault("source_behind", behindHint, "transaction %s was broken off inside, and %s comes in its place", id, t.id)
	}
	if a.sent.id != "" {
		t.free = max(t.free, a.sent.rows)
	}
	return nil
}

const behindHint = "this server lacks transactions that were read before: connect to one that has them, " +
	"or copy the followed tables' content anew"

// behind is the fault for a transaction that never comes.
func (a *Assembler) behind(format string, args ...any) error {
	return a.fault("source_behind", behindHint, "transaction %s is not in the log: "+format, append([]any{a.until}, args...)...)
}

// passed reports whether the transaction shows that the one looked for can't
// come any more.
func (a *Assembler) passed() bool {
	if file, pos, ok := position.ParsePlace(a.until); ok && a.tx.gtid.IsZero() {
		c, err := position.Compare(a.tx.file, a.tx.start, file, pos)
		return err == nil && c > 0
	}
	if a.at.flavor == gtid.MariaDB && !a.tx.gtid.IsZero() {
		want, err := gtid.ParseID(gtid.MariaDB, a.until)
		return err == nil && want.Domain == a.tx.gtid.Domain && a.tx.gtid.Number > want.Number
	}
	return false
}

// beforeRow makes room for a followed row: it waits for the rate limit, sends a
// part that is full, and opens the transaction in the builder. A part ends only
// when another row comes, so that the last one always says that it is.
func (a *Assembler) beforeRow(ctx context.Context) error {
	t := &a.tx
	if l := a.o.Env.Limit; t.rows >= t.free && !l.TryRows(1) {
		if err := a.flush(ctx, false); err != nil {
			return err
		}
		if err := l.Rows(ctx, 1); err != nil {
			return err
		}
	}
	if t.partRows >= cdc.BatchRowsMax || t.partBytes >= cdc.BatchBytesMax {
		if err := a.emitPart(ctx); err != nil {
			return err
		}
	}
	if t.building {
		return nil
	}
	if a.b.Rows() == 0 {
		a.begin = a.at.encode()
	}
	t.building, t.partRows, t.partBytes = true, 0, 0
	a.b.BeginTx(sdk.TxInfo{ID: t.id, File: []byte(t.file), PosStart: t.start, Time: t.time,
		Server: t.server, RowsBefore: t.rows})
	return nil
}

// afterRow counts a row of the given size, and sends the whole transactions in
// front of this one when the batch is full.
func (a *Assembler) afterRow(ctx context.Context, bytes int) error {
	t := &a.tx
	t.rows++
	t.partRows++
	t.partBytes += bytes
	if a.b.Txs() > 1 && (a.b.Rows() > cdc.BatchRowsMax || a.b.Size() > cdc.BatchBytesMax) {
		return a.split(ctx)
	}
	return nil
}

// emitPart sends the open part, or drops it when it was sent before the
// connection was lost. The builder holds nothing else: a part that is full has
// driven whole transactions out.
func (a *Assembler) emitPart(ctx context.Context) error {
	t := &a.tx
	t.building = false
	if a.again() {
		t.handed = t.rows
		a.b.Reset()
		return nil
	}
	t.handed = t.rows
	return a.emit(ctx)
}

// again reports whether the rows up to here were handed out before.
func (a *Assembler) again() bool {
	if a.sent.id == "" {
		return false
	}
	if a.tx.rows <= a.sent.rows {
		return true
	}
	a.sent = sent{}
	return false
}

// commit ends the open transaction behind the event that was read last.
func (a *Assembler) commit(ctx context.Context) error {
	t := &a.tx
	if t.building {
		a.b.EndTx(a.at.pos, 0)
	}
	a.at.commit(t.gtid)
	if err := a.keepChanges(); err != nil {
		return err
	}
	a.sent = sent{}
	building, large := t.building, t.handed > 0
	t.open, t.building = false, false
	a.stats.commit(t.time)
	full := a.b.Rows() >= cdc.BatchRowsMax || a.b.Size() >= cdc.BatchBytesMax
	if building && (large || full) {
		return a.emit(ctx)
	}
	return nil
}

// savepoint remembers how many followed rows there were.
func (a *Assembler) savepoint(name string) {
	t := &a.tx
	if t.savepoints == nil {
		t.savepoints = map[string]uint64{}
	}
	if len(t.savepoints) < savepointsMax {
		t.savepoints[name] = t.rows
	}
}

// rollbackTo handles what the server writes only where rows of tables without
// transactions, which stay, are mixed with others, which don't.
func (a *Assembler) rollbackTo(name string) error {
	if a.tx.skip || a.tx.rows == a.tx.savepoints[name] {
		return nil
	}
	return a.fault("rollback_to_savepoint",
		"copy the followed tables' content anew behind this position, and keep tables without transactions (MyISAM, Aria) out of transactions with savepoints",
		"transaction %s undoes some of its %d rows in followed tables, and the log does not say which", a.tx.id, a.tx.rows)
}

// rollback drops the open transaction's rows; its GTID counts as executed.
func (a *Assembler) rollback(ctx context.Context) error {
	if a.tx.handed > 0 {
		return a.unfinished()
	}
	if a.tx.building {
		a.b.DropTx()
		a.tx.building = false
	}
	return a.commit(ctx)
}
