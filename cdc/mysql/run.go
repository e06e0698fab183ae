package mysql

import (
	"context"
	"errors"
	"sync"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Run reads until ctx ends or something is wrong that neither a new connection
// nor another host of the list mends.
func (s *Source) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) error {
	for {
		err := s.follow(ctx, start, emit)
		lost, ok := errors.AsType[*lostLog](err)
		if !ok {
			return err
		}
		if s.config.OnLostPosition != lostResnapshot || ctx.Err() != nil {
			return lost.error
		}
		if start, err = s.anew(ctx, start.Base, lost); err != nil {
			return errors.Join(lost.error, err)
		}
	}
}

// follow is Run from one place on. An error that says that the log is lost there
// is a *lostLog.
func (s *Source) follow(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) (err error) {
	from, err := position.Decode(start.Base)
	if err != nil {
		return positionFault(err)
	}
	if s.config.Mode == modeFile && from.File != "" {
		from.GTIDs = nil
	}
	l := &link{emit: emit}
	a := s.assembler(l)
	if err := a.Load(s.env.Schemas); err != nil {
		return err
	}
	a.Begin(from, start)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if l.copier, err = s.copying(ctx, a, from, start, emit); err != nil {
		return err
	}
	s.mu.Lock()
	s.asm, s.copier = a, l.copier
	s.mu.Unlock()
	if l.copier != nil {
		defer s.copy(ctx, end, l.copier, start.Again)()
	}
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching) })
	defer func() {
		stop()
		watch.Wait()
		s.setState(cdc.StateStopped, err.Error())
	}()
	t := newTour(len(s.hosts), s.behindMax, s.env.Now)
	var refusedAt sdk.Position
	for {
		at := s.current()
		r := &run{s: s, a: a, start: from, host: s.hosts[at]}
		err := r.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.stop != nil:
			return s.end(ctx, a, lost(r.stop), r.stop)
		}
		if here := a.Position().Encode(); fault.HasCode(err, "server_refused") && here != refusedAt {
			// Whatever it is, such as a log that was reset under our eyes: looking again
			// gives a better answer, or the same one.
			refusedAt, err = here, r.host.lost(err)
		}
		next := t.next(at, r.events > eventsOpening, err)
		if next.end != nil {
			return s.end(ctx, a, next.lost, next.end)
		}
		if err := s.wait(ctx, next, err); err != nil {
			return err
		}
		from = a.Again()
	}
}

// assembler makes the assembler of a reading.
func (s *Source) assembler(l *link) *assemble.Assembler {
	return assemble.New(assemble.Options{Env: s.env, Filter: s.filter, Catalog: catalog{s}, Blocked: s.block, PassOversize: s.config.OnLargeEvent == largeEventGap,
		Log: again{s}, HeldBytesMax: s.held, EventBytesMax: int(s.config.EventBytesMax), KeepGTIDs: s.config.Mode != modeFile,
		Emit: l.hand, Altered: l.altered, Eager: l.eager})
}

// end puts what is lost into the ledger and hands out what is whole.
func (s *Source) end(ctx context.Context, a *assemble.Assembler, gap string, why error) error {
	if err := s.recordGap(ctx, a.Position(), gap, why); err != nil {
		why = errors.Join(why, err)
	}
	if why = a.Fail(ctx, why); gap != "" {
		return &lostLog{why}
	}
	return why
}

// lostLog is an error that says that log which was not read is gone for good.
type lostLog struct{ error }

func (l *lostLog) Unwrap() error { return l.error }

// eventsOpening is how many events a server sends before it looks for the place
// that it was asked for: a rotation and a format description.
const eventsOpening = 2

// run is one connection's worth of reading.
type run struct {
	s      *Source
	a      *assemble.Assembler
	start  *position.Position
	host   host
	events int
	stop   error // of emit and the assembler: ends Run
}

func (r *run) run(ctx context.Context) error {
	s := r.s
	s.connecting(r.host.Addr)
	v, err := s.dial(ctx, r.host)
	if err != nil {
		return err
	}
	if err := r.fits(ctx, v); err != nil {
		return errors.Join(v.sqlFault(err), v.conn.Close())
	}
	keeps, err := v.retention(ctx)
	if err != nil {
		return errors.Join(v.sqlFault(err), v.conn.Close())
	}
	s.keep(keeps, r.start.Born)
	r.a.Server(v.uuid)
	o := s.dumpOptions()
	o.Hooks = replica.Hooks{
		Drained: func() error { return r.keep(r.a.Flush(ctx)) },
		Limit:   func(n int) error { return r.keep(r.limit(ctx, n)) },
		ReadMax: s.env.Limit.BytesBurst(),
	}
	stream, err := replica.Dump(ctx, v.conn, r.start, o)
	if err != nil {
		return v.dumpFault(err)
	}
	return r.read(ctx, stream)
}

// dumpOptions are those of each dump, without hooks.
func (s *Source) dumpOptions() replica.DumpOptions {
	return replica.DumpOptions{ServerID: s.config.ServerID, Name: s.env.Pipeline, Heartbeat: s.config.HeartbeatInterval.Std(),
		EventBytesMax: int(s.config.EventBytesMax)}
}

// read takes events until something ends it. The goroutine that waits for ctx
// is gone when it returns.
func (r *run) read(ctx context.Context, stream *replica.Stream) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		stream.Interrupt()
	})
	r.s.reading(stream)
	defer func() {
		r.s.reading(nil)
		if !stop() {
			<-interrupted
		}
		_ = stream.Close() // nothing of it is needed any more
	}()
	for {
		raw, err := stream.Next()
		if err != nil {
			if r.s.wasPaused() {
				return pausedFault(r.host)
			}
			if big, ok := errors.AsType[*replica.Oversize](err); ok {
				if err := r.keep(r.a.Oversize(big.Head, big)); err != nil {
					return err
				}
				continue
			}
			return r.host.dumpFault(err)
		}
		if r.events++; r.events == 1 { // the server has accepted the position
			r.s.setState(cdc.StateStreaming, "")
		}
		if err := r.keep(r.a.Event(ctx, raw)); err != nil {
			return err
		}
	}
}

// keep remembers an error that is not the connection's. A catalog that can't be
// reached is, and so is a second reading that breaks off.
func (r *run) keep(err error) error {
	if err != nil && !fault.HasCode(err, "server_unreachable") && !fault.HasCode(err, "connection_lost") {
		r.stop = err
	}
	return err
}

// limit waits for the byte rate; what was read already goes out first. Nothing
// is limited on the way to the place where delivery goes on.
func (r *run) limit(ctx context.Context, n int) error {
	if r.a.Seeking() || r.s.env.Limit.TryBytes(n) {
		return nil
	}
	if err := r.a.Flush(ctx); err != nil {
		return err
	}
	return r.s.env.Limit.Bytes(ctx, n)
}
