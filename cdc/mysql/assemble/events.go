package assemble

import (
	"context"
	"io"
	"strconv"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/statement"
)

func appendUint(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }

// event handles one event of the log itself, and moves behind it.
func (a *Assembler) event(ctx context.Context, ev binlog.Event) error {
	switch ev.Type {
	case binlog.RotateEvent:
		return a.rotate(ctx, ev)
	case binlog.FormatDescriptionEvent:
		a.tables.forgetMaps()
		if err := a.unfinished(); err != nil {
			return err
		}
		if err := a.begun(ev.Header); err != nil {
			return err
		}
		a.behindHeader(ev.Header)
		return nil
	case binlog.HeartbeatEvent, binlog.HeartbeatV2Event:
		return a.heartbeat(ctx, ev)
	case binlog.GTIDEvent, binlog.AnonymousGTIDEvent, binlog.GTIDTaggedEvent, binlog.MariaGTIDEvent:
		// Its beginning is told by its end, so it is opened before moving on.
		err := a.gtid(ev)
		a.at.advance(ev.Header)
		return err
	case binlog.QueryEvent, binlog.MariaQueryCompressedEvent:
		return a.query(ctx, ev, true)
	case binlog.PreviousGTIDsEvent, binlog.MariaGTIDListEvent, binlog.StopEvent, binlog.MariaBinlogCheckpointEvent,
		binlog.MariaStartEncryptionEvent:
		return a.between(ev)
	case binlog.TransactionPayloadEvent:
		a.at.advance(ev.Header)
		return a.payload(ctx, ev)
	}
	a.at.advance(ev.Header)
	return a.inside(ctx, ev)
}

// inside handles an event of a transaction, which may have been compressed.
func (a *Assembler) inside(ctx context.Context, ev binlog.Event) error {
	switch {
	case a.tx.xa && (ev.Type == binlog.TableMapEvent || ev.Type.IsRows()):
		return a.keepXA(ev)
	case ev.Type == binlog.TableMapEvent:
		if a.tx.skip {
			return nil
		}
		return a.tableMap(ctx, ev)
	case ev.Type.IsRows():
		return a.rows(ctx, ev)
	}
	switch ev.Type {
	case binlog.XIDEvent:
		return a.commit(ctx)
	case binlog.QueryEvent, binlog.MariaQueryCompressedEvent:
		return a.query(ctx, ev, false)
	case binlog.XAPrepareEvent:
		return a.xaPrepare(ctx, ev)
	case binlog.BeginLoadQueryEvent, binlog.AppendBlockEvent, binlog.DeleteFileEvent,
		binlog.IntVarEvent, binlog.RandEvent, binlog.UserVarEvent, // of a statement, which follows
		binlog.RowsQueryEvent, binlog.MariaAnnotateRowsEvent, // of rows, which follow
		binlog.TransactionContextEvent, binlog.ViewChangeEvent, binlog.IgnorableEvent:
		return nil
	case binlog.ExecuteLoadQueryEvent:
		return a.loadQuery(ev)
	case binlog.IncidentEvent:
		return a.incident(ev)
	}
	if ev.Flags&binlog.FlagIgnorable != 0 {
		return nil
	}
	hint := "this version of cdcd does not know what the event means, and does not pass over it: " +
		"switch off the server's feature that writes it, or use a newer version"
	if ev.Type == binlog.MariaPartialRowDataEvent {
		hint = "this version of cdcd does not put fragments of rows together: SET GLOBAL binlog_row_event_fragment_threshold " +
			"to more than the largest row on the server, and copy the followed tables' content anew behind this position"
	}
	return a.fault("unknown_event", hint, "an event of type %v in the log", ev.Type)
}

// behindHeader moves behind an event that stands between transactions. One
// without an end, at the beginning of a connection, was not read at its place.
func (a *Assembler) behindHeader(h binlog.Header) {
	if h.LogPos == 0 {
		return
	}
	a.at.advance(h)
	if !a.tx.open {
		a.at.bound()
	}
}

func (a *Assembler) between(ev binlog.Event) error {
	if ev.Type == binlog.MariaGTIDListEvent && a.at.set == nil && a.o.KeepGTIDs && !a.tx.open {
		// The first file's list is what was executed before it.
		list, err := binlog.ParseMariaGTIDList(ev)
		if err != nil {
			return err
		}
		a.at.set = gtid.New(gtid.MariaDB)
		for _, g := range list.GTIDs {
			a.at.set.Add(gtid.ID{Flavor: gtid.MariaDB, Domain: g.Domain, Server: g.Server, Number: g.Seq})
		}
		a.at.moved++
	}
	a.behindHeader(ev.Header)
	return nil
}

// rotate goes to the next file, or learns the first one's name. It is a place
// to tell the position.
func (a *Assembler) rotate(ctx context.Context, ev binlog.Event) error {
	r, err := binlog.ParseRotate(ev)
	if err != nil {
		return err
	}
	if a.o.Files {
		a.behindHeader(ev.Header)
		return nil
	}
	if ev.Flags&binlog.FlagArtificial != 0 && r.Name == a.at.file && (r.Position == a.at.pos || a.tx.open) {
		return nil
	}
	if err := a.unfinished(); err != nil {
		return err
	}
	if r.Name != a.at.boundFile {
		a.notThis = 0
	}
	if a.at.set != nil && ev.Flags&binlog.FlagArtificial != 0 {
		// Where the server begins to look; the boundary is what the GTIDs say.
		a.at.file, a.at.pos = r.Name, r.Position
		return nil
	}
	a.at.rotate(r.Name, r.Position)
	if a.told == a.at.moved {
		return nil
	}
	return a.flush(ctx, ev.Flags&binlog.FlagArtificial == 0)
}

// heartbeat says that nothing more is there; where the server left out
// transactions that are executed here, it also says how far it is.
func (a *Assembler) heartbeat(ctx context.Context, ev binlog.Event) error {
	h, err := binlog.ParseHeartbeat(ev)
	if err != nil {
		return err
	}
	a.stats.idle(a.o.Env.Now())
	if a.until != "" && a.at.set == nil {
		return a.behind("the log ends here")
	}
	if !a.tx.open && h.Name == a.at.file && h.Position > a.at.pos && a.at.set != nil {
		a.at.pos = h.Position
		a.at.bound()
	}
	return a.flush(ctx, true)
}

// gtidOf reads any of the events that open a transaction: its id, which is zero
// for an anonymous one, its commit time in microseconds, 0 where the log does not
// have it, and what only MariaDB says.
func gtidOf(ev binlog.Event) (id gtid.ID, time int64, maria binlog.MariaGTID, err error) {
	if ev.Type == binlog.MariaGTIDEvent {
		maria, err = binlog.ParseMariaGTID(ev)
		return gtid.ID{Flavor: gtid.MariaDB, Domain: maria.Domain, Server: maria.Server, Number: maria.Seq}, 0, maria, err
	}
	g, err := binlog.ParseGTID(ev)
	if err == nil && !g.Anonymous {
		id = gtid.ID{Flavor: gtid.MySQL, Source: g.SID, Tag: g.Tag, Number: uint64(g.GNO)}
	}
	return id, int64(g.OriginalCommit), maria, err
}

func (a *Assembler) gtid(ev binlog.Event) error {
	id, time, maria, err := gtidOf(ev)
	if err != nil {
		return err
	}
	if !id.IsZero() && id.Flavor != a.at.flavor {
		return a.fault("binlog_corrupt", "read the log with the server that wrote it", "a GTID of %v in a log of %v", id.Flavor, a.at.flavor)
	}
	if err := a.beginGTID(ev, id, time); err != nil {
		return err
	}
	if ev.Type == binlog.MariaGTIDEvent {
		a.tx.standalone, a.tx.begun = maria.Standalone(), !maria.Standalone()
		if maria.Flags&binlog.MariaXAPrepared != 0 {
			a.beginXA(statement.XID(maria.FormatID, maria.GTRID, maria.BQUAL))
		}
	}
	return nil
}

// payload handles the events inside a compressed transaction.
func (a *Assembler) payload(ctx context.Context, ev binlog.Event) error {
	return a.each(ev, func(inner binlog.Event) error { return a.inside(ctx, inner) })
}

// each hands out the events inside a compressed transaction.
func (a *Assembler) each(ev binlog.Event, f func(binlog.Event) error) error {
	p, err := a.parser.Payload(ev)
	if err != nil {
		return err
	}
	for {
		inner, err := p.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(inner); err != nil {
			return err
		}
	}
}

func (a *Assembler) incident(ev binlog.Event) error {
	n, err := binlog.ParseIncident(ev)
	if err != nil {
		return err
	}
	return a.fault("incident", "the server's log misses changes: copy the followed tables' content anew behind this position",
		"the server reports an incident: %d %s", n.Number, n.Message)
}
