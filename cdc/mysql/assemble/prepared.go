package assemble

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/statement"
	"github.com/cdcd-io/cdcd/internal/fault"
)

const (
	// preparedMax bounds the XA transactions that are open at a time: each is
	// part of every position.
	preparedMax = 1024
	// heldBytesMax bounds the events of all of them that are kept in memory.
	heldBytesMax = 4 << 20
)

// Log reads a part of the log a second time, beside the reading that goes on.
type Log interface {
	// Reread hands the log's raw events to f, from the first event of the
	// transaction on at the latest, behind a format description, until f wants no
	// more. An event is good until f returns. A fault of code position_purged says
	// that the log does not have the place any more.
	Reread(ctx context.Context, from *position.Prepared, f func(raw []byte) (more bool, err error)) error
	// Files returns the names of the log's files, oldest first.
	Files(ctx context.Context) ([]string, error)
}

// prepared is what is kept of XA transactions between XA PREPARE and their end.
// The list of them is part of the place; here are the events of those that are
// small, one behind the other and without checksums. The others are read again.
type prepared struct {
	held     map[string][]byte
	bytes    int // of held
	bytesMax int

	// The one that is being read:
	xid      string
	events   []byte
	lost     bool            // its events were too many to keep
	followed map[uint64]bool // its tables
	any      bool            // it has rows of followed tables, or a statement that may change them
}

// open begins to keep a transaction's events.
func (x *prepared) open(xid string) {
	x.xid, x.events, x.lost, x.any = xid, x.events[:0], false, false
	clear(x.followed)
}

// keep keeps an event.
func (x *prepared) keep(ev binlog.Event) {
	if x.lost {
		return
	}
	size := binlog.HeaderSize + len(ev.Body)
	if x.bytes+len(x.events)+size > x.bytesMax {
		x.lost, x.events = true, nil
		return
	}
	le := binary.LittleEndian
	b := le.AppendUint32(x.events, ev.Timestamp)
	b = le.AppendUint32(append(b, byte(ev.Type)), ev.ServerID)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint16(le.AppendUint32(b, ev.LogPos), ev.Flags)
	x.events = append(b, ev.Body...)
}

// close holds what was kept, until the transaction's end.
func (x *prepared) close() {
	x.drop(x.xid)
	switch {
	case !x.any:
		x.events = x.events[:0] // nothing to read again
	case x.lost:
		return
	}
	if x.held == nil {
		x.held = map[string][]byte{}
	}
	x.held[x.xid] = slices.Clone(x.events)
	x.bytes += len(x.events)
}

func (x *prepared) drop(xid string) {
	x.bytes -= len(x.held[xid])
	delete(x.held, xid)
}

// beginXA notes that the open transaction will be prepared. Its rows are not
// decoded before it is known whether they count.
func (a *Assembler) beginXA(xid string) {
	a.tx.xa = true
	a.xa.open(xid)
}

// keepXA takes an event of a transaction that will be prepared.
func (a *Assembler) keepXA(ev binlog.Event) error {
	x := &a.xa
	switch {
	case a.tx.skip:
		return nil
	case ev.Type == binlog.TableMapEvent:
		m, err := a.parser.TableMap(ev)
		if err != nil {
			return err
		}
		if x.followed == nil {
			x.followed = map[uint64]bool{}
		}
		x.followed[m.ID] = a.o.Filter.Match(m.DB, m.Table)
		if x.followed[m.ID] {
			x.keep(ev)
		}
	case ev.Type.IsRows():
		h, _, err := a.parser.RowsHeader(ev)
		if err != nil {
			return err
		}
		if x.followed[h.TableID] {
			x.any = true
			x.keep(ev)
		}
	default:
		x.keep(ev)
	}
	return nil
}

// xaPrepare ends the first phase of an XA transaction, or the only one.
func (a *Assembler) xaPrepare(ctx context.Context, ev binlog.Event) error {
	e, err := binlog.ParseXAPrepare(ev)
	if err != nil {
		return err
	}
	xid := statement.XID(e.FormatID, e.GTRID, e.BQUAL)
	if !a.tx.xa || xid != a.xa.xid {
		return a.fault("binlog_corrupt", "read again from the beginning of the log file",
			"XA PREPARE of %s, which did not begin", xid)
	}
	p := a.preparing(xid)
	if e.OnePhase {
		return a.onePhase(ctx, p)
	}
	if !a.tx.before { // else the position that reading began with has it
		if a.tx.skip {
			a.xa.drop(xid) // an earlier one of the same id
		} else {
			a.xa.close()
		}
		list := without(a.at.prepared, xid)
		if len(list) >= preparedMax {
			return a.fault("xa_too_many", "see XA RECOVER on the server, and end the transactions that their application has forgotten by XA COMMIT or XA ROLLBACK",
				"more than %d XA transactions are prepared and have no end; the oldest is %s of %s", preparedMax,
				list[0].XID, position.Place(list[0].File, list[0].Pos))
		}
		a.at.prepared = append(list, *p)
	}
	return a.commit(ctx)
}

// preparing says where the open transaction is.
func (a *Assembler) preparing(xid string) *position.Prepared {
	t := &a.tx
	p := &position.Prepared{XID: xid, File: t.file, Pos: t.start, From: a.at.from, Server: a.at.server, GTID: t.gtid}
	if a.at.flavor == gtid.MariaDB && a.at.set != nil {
		p.After = a.at.set.Last(t.gtid.Domain)
	}
	return p
}

// without returns a copy of the list that lacks a transaction.
func without(list []position.Prepared, xid string) []position.Prepared {
	return slices.DeleteFunc(slices.Clone(list), func(p position.Prepared) bool { return p.XID == xid })
}

// onePhase commits a transaction that was not prepared.
func (a *Assembler) onePhase(ctx context.Context, p *position.Prepared) error {
	a.tx.xa = false
	if !a.tx.skip && a.xa.any {
		events := a.xa.events
		if a.xa.lost {
			events = nil
		}
		if err := a.replay(ctx, p, events, !a.xa.lost); err != nil {
			return err
		}
	}
	return a.commit(ctx)
}

// decide ends a prepared transaction: its rows are the rows of the transaction
// of XA COMMIT.
func (a *Assembler) decide(ctx context.Context, s statement.Statement) error {
	i := slices.IndexFunc(a.at.prepared, func(p position.Prepared) bool { return p.XID == s.Name })
	if a.tx.before {
		return a.commit(ctx)
	}
	if s.Kind == statement.XACommit && !a.tx.skip {
		p, err := a.preparedAs(ctx, s.Name, i)
		if err != nil {
			return err
		}
		events, held := a.xa.held[p.XID]
		if err := a.replay(ctx, p, events, held); err != nil {
			return err
		}
	}
	if i >= 0 {
		a.at.prepared = without(a.at.prepared, s.Name)
		a.xa.drop(s.Name)
	}
	return a.commit(ctx)
}

// preparedAs returns the open transaction of an id: number i of the list, or one
// from before the place where reading began.
func (a *Assembler) preparedAs(ctx context.Context, xid string, i int) (*position.Prepared, error) {
	if i >= 0 {
		p := a.at.prepared[i]
		return &p, nil
	}
	p, err := a.search(ctx, xid)
	if p != nil || err != nil {
		return p, err
	}
	return nil, a.fault("xa_prepared_before", "begin at a place before its XA PREPARE (start: earliest), "+
		"or copy the followed tables' content anew behind this position",
		"XA COMMIT of %s, which was prepared before the place where reading began, and not in the last %d log files: what it changed is not known",
		xid, searchFilesMax)
}

// replay reads the rows of a prepared transaction into the open one: from the
// events that are held, or else from the log.
func (a *Assembler) replay(ctx context.Context, p *position.Prepared, events []byte, held bool) error {
	r := &replay{a: a, p: p}
	return a.apart(func() error {
		if held {
			return r.held(ctx, events)
		}
		return r.fromLog(ctx)
	})
}

// held takes the events from memory.
func (r *replay) held(ctx context.Context, events []byte) error {
	for len(events) > 0 {
		size := binary.LittleEndian.Uint32(events[9:])
		ev, err := r.a.parser.Parse(events[:size])
		if err != nil {
			return err
		}
		if err := r.event(ctx, ev); err != nil {
			return err
		}
		events = events[size:]
	}
	return nil
}

// replay is the second reading of a prepared transaction.
type replay struct {
	a     *Assembler
	p     *position.Prepared
	at    place
	found bool
	done  bool
}

func (r *replay) fromLog(ctx context.Context) error {
	if r.a.o.Log == nil {
		return r.purged("there is no log to read it from")
	}
	r.at = newPlace(&position.Position{Flavor: r.a.at.flavor, File: r.p.File, Pos: r.p.Pos, From: r.p.From})
	err := r.a.o.Log.Reread(ctx, r.p, func(raw []byte) (bool, error) {
		ev, err := r.a.parser.Parse(raw)
		if err == nil {
			err = r.log(ctx, ev)
		}
		return !r.done, err
	})
	switch {
	case fault.HasCode(err, "position_purged"):
		return r.purged("%w", err)
	case err == nil && !r.done:
		return r.purged("the log ends before it")
	}
	return err
}

func (r *replay) purged(format string, args ...any) error {
	return r.a.fault("xa_prepare_lost", "copy the followed tables' content anew behind this position, and keep logs for longer than "+
		"XA transactions stay prepared (binlog_expire_logs_seconds)",
		"XA COMMIT of %s, whose rows at %s can't be read: "+format,
		append([]any{r.p.XID, position.Place(r.p.File, r.p.Pos)}, args...)...)
}

// log takes an event of the log: all before the transaction is passed over.
func (r *replay) log(ctx context.Context, ev binlog.Event) error {
	switch ev.Type {
	case binlog.RotateEvent:
		n, err := binlog.ParseRotate(ev)
		if err == nil && ev.Flags&binlog.FlagArtificial == 0 {
			err = r.missing()
		} else if err == nil && n.Name != r.at.file {
			r.at.rotate(n.Name, n.Position)
		}
		return err
	case binlog.HeartbeatEvent, binlog.HeartbeatV2Event:
		if r.p.GTID.IsZero() {
			return r.missing()
		}
		return nil // the server passes over what it need not send
	case binlog.GTIDEvent, binlog.AnonymousGTIDEvent, binlog.GTIDTaggedEvent, binlog.MariaGTIDEvent:
		return r.gtid(ev)
	}
	r.at.advance(ev.Header)
	switch {
	case !r.found:
		return nil
	case ev.Type == binlog.TransactionPayloadEvent:
		return r.a.each(ev, func(inner binlog.Event) error { return r.event(ctx, inner) })
	}
	return r.event(ctx, ev)
}

func (r *replay) missing() error { return r.purged("it is not there") }

// gtid compares the transaction that begins with the one that is looked for.
func (r *replay) gtid(ev binlog.Event) error {
	if r.found {
		return r.missing() // it has no XA PREPARE
	}
	id, _, _, err := gtidOf(ev)
	if err != nil {
		return err
	}
	start := r.at.start(ev.Header)
	r.at.advance(ev.Header)
	if r.p.GTID.IsZero() {
		r.found = r.at.file == r.p.File && start == r.p.Pos
	} else {
		r.found = id == r.p.GTID
	}
	if !r.found && r.at.file == r.p.File && start >= r.p.Pos {
		return r.missing()
	}
	return nil
}

// event takes an event of the transaction.
func (r *replay) event(ctx context.Context, ev binlog.Event) error {
	a := r.a
	switch {
	case r.done:
		return nil
	case ev.Type == binlog.TableMapEvent:
		return a.tableMap(ctx, ev)
	case ev.Type.IsRows():
		return a.rows(ctx, ev)
	case ev.Type == binlog.QueryEvent || ev.Type == binlog.MariaQueryCompressedEvent:
		return r.query(ctx, ev)
	case ev.Type == binlog.XAPrepareEvent:
		e, err := binlog.ParseXAPrepare(ev)
		if err == nil && statement.XID(e.FormatID, e.GTRID, e.BQUAL) != r.p.XID {
			err = r.missing()
		}
		r.done = err == nil
		return err
	case ev.Type == binlog.XIDEvent:
		return r.missing()
	}
	return nil // what is not known was refused on the first reading
}

func (r *replay) query(ctx context.Context, ev binlog.Event) error {
	a := r.a
	q, err := a.parser.Query(ev)
	if err != nil {
		return err
	}
	switch s := statement.Read(q.SQL, q.Schema); s.Kind {
	case statement.XAStart:
		if s.Name != r.p.XID {
			return r.missing()
		}
	case statement.Savepoint:
		a.savepoint(s.Name)
	case statement.RollbackTo:
		return a.rollbackTo(s.Name)
	case statement.DML:
		return a.dml(&q, s)
	case statement.Truncate:
		return a.truncate(ctx, s.Tables[0])
	}
	return nil
}
