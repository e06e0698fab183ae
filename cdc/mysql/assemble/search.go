package assemble

import (
	"bytes"
	"context"
	"slices"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/statement"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// searchFilesMax bounds how many files, from the present one back, are looked
// through for where a transaction was prepared. It happens behind a start in the
// middle of a log alone, and XA transactions are short.
const searchFilesMax = 4

// search looks for an XA PREPARE before the place where reading began; nil when
// it is not found.
func (a *Assembler) search(ctx context.Context, xid string) (*position.Prepared, error) {
	if a.o.Log == nil {
		return nil, nil
	}
	files, err := a.o.Log.Files(ctx)
	if err != nil {
		return nil, err
	}
	last := slices.Index(files, a.at.file)
	for i := last; i >= 0 && i > last-searchFilesMax; i-- {
		s := &search{a: a, xid: xid, at: newPlace(&position.Position{Flavor: a.at.flavor, File: files[i], Pos: position.FirstPos}),
			set: gtid.New(a.at.flavor)}
		err := a.apart(func() error {
			return a.o.Log.Reread(ctx, &position.Prepared{File: files[i], Pos: position.FirstPos, Server: a.at.server}, s.raw)
		})
		if fault.HasCode(err, "position_purged") {
			return nil, nil
		}
		if err != nil || s.found != nil || s.ended {
			return s.found, err
		}
	}
	return nil, nil
}

// apart runs f with a parser of its own, for a part of the log that is read
// beside the reading that goes on.
func (a *Assembler) apart(f func() error) error {
	outer := a.parser
	a.parser = a.newParser()
	a.tables.forgetMaps()
	defer func() {
		a.parser = outer
		a.tables.forgetMaps()
	}()
	return f()
}

// search goes through one file.
type search struct {
	a     *Assembler
	xid   string
	at    place
	set   *gtid.Set          // of MariaDB: the last of each domain so far
	tx    *position.Prepared // that is being passed
	found *position.Prepared // the last one that was prepared under the id, and had no end
	ended bool               // the last thing that happened under the id was an end
}

// raw takes an event, and reports whether the search goes on.
func (s *search) raw(raw []byte) (more bool, err error) {
	ev, err := s.a.parser.Parse(raw)
	if err != nil {
		return false, err
	}
	switch ev.Type {
	case binlog.RotateEvent:
		n, err := binlog.ParseRotate(ev)
		return n.Name == s.at.file, err // else behind the file's end
	case binlog.HeartbeatEvent, binlog.HeartbeatV2Event:
		return false, nil
	case binlog.MariaGTIDListEvent:
		list, err := binlog.ParseMariaGTIDList(ev)
		for _, g := range list.GTIDs {
			s.set.Add(gtid.ID{Flavor: gtid.MariaDB, Domain: g.Domain, Server: g.Server, Number: g.Seq})
		}
		s.at.advance(ev.Header)
		return true, err
	case binlog.GTIDEvent, binlog.AnonymousGTIDEvent, binlog.GTIDTaggedEvent, binlog.MariaGTIDEvent:
		return s.gtid(ev)
	case binlog.TransactionPayloadEvent:
		s.at.advance(ev.Header)
		return true, s.a.each(ev, s.event)
	}
	s.at.advance(ev.Header)
	return true, s.event(ev)
}

func (s *search) gtid(ev binlog.Event) (more bool, err error) {
	id, _, _, err := gtidOf(ev)
	if err != nil {
		return false, err
	}
	start := s.at.start(ev.Header)
	if s.at.file == s.a.tx.file && start >= s.a.tx.start {
		return false, nil // as far as the reading has come
	}
	s.tx = &position.Prepared{XID: s.xid, File: s.at.file, Pos: start, From: s.at.from, Server: s.a.at.server, GTID: id}
	if id.Flavor == gtid.MariaDB {
		s.tx.After = s.set.Last(id.Domain)
		s.set.Add(id)
	}
	s.at.advance(ev.Header)
	return true, nil
}

func (s *search) event(ev binlog.Event) error {
	switch ev.Type {
	case binlog.XAPrepareEvent:
		e, err := binlog.ParseXAPrepare(ev)
		if err == nil && !e.OnePhase && statement.XID(e.FormatID, e.GTRID, e.BQUAL) == s.xid {
			s.found, s.ended = s.tx, false
		}
		return err
	case binlog.QueryEvent, binlog.MariaQueryCompressedEvent:
		q, err := s.a.parser.Query(ev)
		if err != nil || !bytes.HasPrefix(q.SQL, []byte("XA ")) {
			return err
		}
		if x := statement.Read(q.SQL, q.Schema); x.Name == s.xid && (x.Kind == statement.XACommit || x.Kind == statement.XARollback) {
			s.found, s.ended = nil, true
		}
	}
	return nil
}
