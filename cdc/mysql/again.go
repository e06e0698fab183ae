package mysql

import (
	"context"
	"errors"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// again reads a part of the log a second time, by a connection of its own. It
// implements assemble.Log.
type again struct{ s *Source }

// Reread asks for the log from the transaction on: by its place on the server
// that wrote it, and by its GTID on another.
func (g again) Reread(ctx context.Context, p *position.Prepared, f func(raw []byte) (bool, error)) error {
	s := g.s
	v, err := s.dial(ctx, s.hosts[s.current()])
	if err != nil {
		return err
	}
	from, err := v.reread(ctx, p)
	if err != nil {
		return errors.Join(v.sqlFault(err), v.conn.Close())
	}
	name := s.env.Pipeline + " again" // MariaDB ends the reading that has the same id, MySQL the one of the same name
	o := s.dumpOptions()
	o.ServerID, o.Name = serverID(name), name
	o.Hooks = replica.Hooks{
		Drained: func() error { return nil },
		Limit:   func(n int) error { return s.env.Limit.Bytes(ctx, n) },
		ReadMax: s.env.Limit.BytesBurst(),
	}
	stream, err := replica.Dump(ctx, v.conn, from, o)
	if err != nil {
		return v.dumpFault(err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		stream.Interrupt()
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
		_ = stream.Close() // nothing of it is needed any more
	}()
	for {
		raw, err := stream.Next()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return v.dumpFault(err)
		}
		if more, err := f(raw); err != nil || !more {
			return err
		}
	}
}

// Files lists the server's log files.
func (g again) Files(ctx context.Context) (files []string, err error) {
	v, err := g.s.open(ctx)
	if err != nil {
		return nil, err
	}
	files, err = v.logs(ctx)
	return files, errors.Join(v.sqlFault(err), v.conn.Close())
}

// reread returns where to read from so as to meet the transaction.
func (v *server) reread(ctx context.Context, p *position.Prepared) (*position.Position, error) {
	if p.File != "" && p.Server == v.uuid {
		return &position.Position{Flavor: v.flavor, File: p.File, Pos: p.Pos, From: p.From}, nil
	}
	if p.GTID.IsZero() {
		return nil, fault.New(fault.Fatal, "position_purged", "", "connect to the server that was read before",
			"the transaction has no GTID, and its place %s is of server %s", position.Place(p.File, p.Pos), p.Server)
	}
	sql := "SELECT @@global.gtid_executed"
	if v.flavor == gtid.MariaDB {
		sql = "SELECT @@global.gtid_binlog_pos"
	}
	text, err := v.conn.Value(ctx, sql)
	if err != nil {
		return nil, err
	}
	set, err := gtid.Parse(v.flavor, text)
	if err != nil {
		return nil, err
	}
	switch {
	case !set.Has(p.GTID):
		return nil, fault.New(fault.Fatal, "position_purged", "", "connect to a server that has all that was read before",
			"the server lacks the transaction %s", p.GTID)
	case v.flavor == gtid.MySQL:
		set.Remove(p.GTID) // the server sends all that the set lacks
	case p.After.IsZero():
		set.Forget(p.GTID.Domain)
	default:
		set.Add(p.After)
	}
	return &position.Position{Flavor: v.flavor, GTIDs: set}, nil
}
