package mysql

import (
	"context"
	"sync"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// link is what lies between an assembler and the pipeline: nothing, or a copier.
type link struct {
	copier *snapshot.Copier
	emit   func(context.Context, *cdc.Batch) error
}

func (l *link) hand(ctx context.Context, b *cdc.Batch) error {
	if l.copier != nil {
		return l.copier.Stream(ctx, b)
	}
	return l.emit(ctx, b)
}

func (l *link) altered(match func(tables.Name) bool) {
	if l.copier != nil {
		l.copier.Altered(func(n snapshot.Name) bool { return match(tables.Name(n)) })
	}
}

// eager has positions told at once while a copy waits for them.
func (l *link) eager() bool { return l.copier != nil && l.copier.Busy() }

// copying returns the copier of a Run, which also carries on the cursor of an
// earlier one; nil where there is neither, and nobody can ask for a copy.
func (s *Source) copying(ctx context.Context, a *assemble.Assembler, from *position.Position, start cdc.Start,
	emit func(context.Context, *cdc.Batch) error) (*snapshot.Copier, error) {
	if !s.copies() && len(from.Snapshot) == 0 && s.env.Requests == nil {
		return nil, nil
	}
	cursor, err := snapshot.ParseCursor(from.Snapshot)
	if err != nil {
		return nil, positionFault(err)
	}
	o := s.config.SnapshotOptions
	bare := *from
	bare.Snapshot = nil
	var db snapshot.Database = &database{s: s, a: a, ctx: ctx}
	if s.between != nil {
		db = s.between(db)
	}
	return snapshot.New(snapshot.Options{Database: db, Emit: emit, Patterns: s.config.Tables, Workers: o.Workers,
		Limits: snapshot.Limits{Rows: s.chunkRows, Bytes: int(o.ChunkBytes)}, Share: s.env.Share, Held: s.env.Chunks, Limit: s.env.Limit,
		LoadMax: o.ThreadsRunningMax, Last: s.config.Snapshot == snapshotOnly, Log: s.env.Log, Now: s.env.Now, Dormant: !s.copies(), Ledger: s.env.Requests,
		Heard: len(from.Snapshot) > 0 || start.Lost},
		cursor, bare.Encode(), bare.Place(), start.Tx != ""), nil
}

// copyRowsMax bounds the rows of a chunk.
const copyRowsMax = 256 << 10

// splitRowsMin is the least that a part of a table has which is read side by side
// with others.
const splitRowsMin = 50_000

// copies reports whether tables are to be copied.
func (s *Source) copies() bool { return s.config.Snapshot != snapshotNever }

// Copies implements cdc.SnapshotConfigured.
func (s *Source) Copies() bool { return s.copies() }

// copy runs the copier beside the reading of the log, until the returned
// function is called: first the copy that the configuration asks for, then those
// that people ask for. What ends the copying ends ctx: an error, or the end of
// all there is to do.
//
// Nothing that people ask for is begun before again is closed; nil does not hold
// it up.
func (s *Source) copy(ctx context.Context, end context.CancelCauseFunc, c *snapshot.Copier, again <-chan struct{}) (stop func()) {
	var done sync.WaitGroup
	idle := make(chan struct{})
	if s.copies() {
		done.Go(func() {
			err := c.Run(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				end(err)
			case s.config.Snapshot == snapshotOnly:
				end(cdc.ErrEnd)
			default:
				close(idle)
			}
		})
	} else {
		close(idle)
	}
	if s.env.Requests != nil && s.config.Snapshot != snapshotOnly {
		done.Go(func() {
			if again != nil {
				select {
				case <-again:
				case <-ctx.Done():
					return
				}
			}
			if err := c.Serve(ctx, s.env.Requests, idle); ctx.Err() == nil {
				end(err)
			}
		})
	}
	return func() {
		end(nil)
		done.Wait()
	}
}

// anew returns where to begin again with a copy of all tables when the log is
// lost behind base.
func (s *Source) anew(ctx context.Context, base sdk.Position, why error) (cdc.Start, error) {
	before, err := position.Decode(base)
	if err != nil {
		return cdc.Start{}, positionFault(err)
	}
	c, err := snapshot.ParseCursor(before.Snapshot)
	if err != nil {
		return cdc.Start{}, positionFault(err)
	}
	if s.env.Log != nil {
		s.env.Log.Warn("the log is lost where reading must go on: all tables are copied anew", "reason", why)
	}
	pos, err := s.ask(ctx, func(v *server) (*position.Position, error) {
		p, err := v.head(ctx)
		if err == nil {
			anew := c.Anew()
			p.Snapshot = anew.Encode()
		}
		return p, err
	})
	return cdc.Start{Base: pos}, err
}

// Behind implements cdc.Snapshotter.
func (s *Source) Behind(base sdk.Position, tx string, whole bool) (pos sdk.Position, ok bool, err error) {
	if !snapshot.IsTx(tx) {
		return "", false, nil
	}
	p, err := position.Decode(base)
	if err != nil {
		return "", false, positionFault(err)
	}
	c, err := snapshot.ParseCursor(p.Snapshot)
	if err == nil {
		c, err = c.Behind(tx, whole)
	}
	if err != nil {
		return "", false, positionFault(err)
	}
	p.Snapshot = c.Encode()
	return p.Encode(), true, nil
}

// Copied implements cdc.Snapshotter.
func (s *Source) Copied(from, to sdk.Position) (bool, error) {
	var n [2]uint64
	for i, pos := range [...]sdk.Position{from, to} {
		p, err := position.Decode(pos)
		if err != nil {
			return false, positionFault(err)
		}
		c, err := snapshot.ParseCursor(p.Snapshot)
		if err != nil {
			return false, positionFault(err)
		}
		n[i] = c.N
	}
	return n[0] != n[1], nil
}

// begun returns the position of a beginning, with an empty cursor where tables
// are copied.
func (s *Source) begun(p *position.Position) *position.Position {
	if s.copies() {
		p.Snapshot = (&snapshot.Cursor{}).Encode()
	}
	return p
}

// coversCopy compares the cursors of two positions.
func coversCopy(p, head *position.Position) (bool, error) {
	if len(head.Snapshot) == 0 {
		return true, nil
	}
	pc, err := snapshot.ParseCursor(p.Snapshot)
	if err != nil {
		return false, positionFault(err)
	}
	hc, err := snapshot.ParseCursor(head.Snapshot)
	if err != nil {
		return false, positionFault(err)
	}
	return pc.Covers(&hc), nil
}

// database is the server as a copier asks it.
type database struct {
	s   *Source
	a   *assemble.Assembler
	ctx context.Context // of the copying, for the limit on its reading

	mu   sync.Mutex
	text sdk.Position       // the position that Covers was asked about last,
	read *position.Position // decoded
}

// Open implements snapshot.Database: it connects to the host whose log is read.
func (d *database) Open(ctx context.Context) (snapshot.Conn, error) {
	s := d.s
	h := s.hosts[s.current()]
	c, err := s.scanConn(ctx, h, func(n int) error { return s.env.Limit.Bytes(d.ctx, n) })
	if err != nil {
		return nil, err
	}
	return &copyConn{d: d, host: h, scan: c}, nil
}

// scanConn connects to a host for reading tables.
func (s *Source) scanConn(ctx context.Context, h host, limit func(int) error) (*scan.Conn, error) {
	return scan.Open(ctx, scan.Options{Target: h.Target, Files: s.config.Mode == modeFile, RowBytesMax: int(s.config.EventBytesMax),
		Limit: limit, ReadMax: s.env.Limit.BytesBurst()})
}

// Mendable implements snapshot.Database.
func (d *database) Mendable(err error) bool { return mendable(err) }

// Covers implements snapshot.Database. Places that don't compare are those of
// two servers: another connection is to the one that is read.
func (d *database) Covers(pos, other sdk.Position) (bool, error) {
	p, err := d.decode(pos)
	if err != nil {
		return false, err
	}
	o, err := d.decode(other)
	if err != nil {
		return false, err
	}
	ok, err := p.Covers(o)
	if err != nil {
		return false, fault.New(fault.Retryable, "connection_lost", d.s.hosts[d.s.current()].Addr, "nothing to do",
			"tables and log were read from two servers: %w", err)
	}
	return ok, nil
}

func (d *database) decode(pos sdk.Position) (*position.Position, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if pos != d.text {
		p, err := position.Decode(pos)
		if err != nil {
			return nil, positionFault(err)
		}
		d.text, d.read = pos, p
	}
	return d.read, nil
}

// Attach implements snapshot.Database.
func (d *database) Attach(pos sdk.Position, cursor []byte) sdk.Position {
	return position.WithSnapshot(pos, cursor)
}

// copied returns how far the copy of tables has come, nil where none was ever
// asked for; the caller holds mu.
func (s *Source) copied() *cdc.Snapshot {
	if s.copier == nil {
		return nil
	}
	p := s.copier.Progress()
	if !s.copies() && p.Past == 0 {
		return nil
	}
	return &p
}
