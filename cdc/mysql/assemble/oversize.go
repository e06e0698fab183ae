package assemble

import (
	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
)

// Oversize passes over an event of which only the beginning was read, because
// it is larger than allowed: rows of a table that is not followed, or that were
// delivered before, don't matter. For rows of a followed table, with
// Options.PassOversize, it puts a gap on record, durably. Anything else is why,
// the fault that the reader gave.
func (a *Assembler) Oversize(head []byte, why error) error {
	h, err := binlog.ParseHeader(head)
	if err != nil {
		return a.located(err)
	}
	if !h.Type.IsRows() || !a.tx.open {
		return a.located(why) // it may hold anything
	}
	start := a.at.start(h)
	a.at.advance(h)
	a.logBytes += int64(h.Size)
	if a.tx.skip {
		return nil
	}
	id, err := a.parser.TableID(binlog.Event{Header: h, Body: head[binlog.HeaderSize:]})
	if err != nil {
		return a.located(err)
	}
	if followed, known := a.xa.followed[id]; a.tx.xa && known && !followed {
		return nil
	}
	t := a.tables.maps[a.parser.Table(id)]
	switch {
	case a.tx.xa:
		return a.located(why) // whether its rows count is not known yet
	case t != nil && t.plan == nil:
		return nil
	case t == nil || !a.o.PassOversize:
		return a.located(why)
	}
	g := cdc.Gap{Cause: binlog.CodeTooLarge, From: a.at.encode(), Place: position.Place(a.at.file, start), Tx: string(a.tx.id), Row: a.tx.rows,
		Tables: []string{t.schema.FullName()}, Bytes: uint64(h.Size), Detail: why.Error(), Time: a.o.Env.Now()}
	if a.o.Env.Log != nil {
		a.o.Env.Log.Error("rows are left out, and on record as a gap", "place", g.Place, "table", g.Tables[0], "tx", g.Tx, "reason", why)
	}
	return g.Record(a.o.Env.Gaps)
}
