package mysql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Waiting between attempts to connect: doubled from the first to the last, each
// with a random half taken off so that many readers don't come at once.
const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 10 * time.Second
)

// Source reads a server's log. It implements cdc.Source.
type Source struct {
	config Config
	target replica.Target
	env    cdc.Env
	filter *tables.Filter
	held   int // bytes of prepared transactions in memory; 0 takes the default

	mu         sync.Mutex
	state      cdc.State
	reason     string
	since      time.Time
	reconnects uint64
	asm        *assemble.Assembler // of the running or the last Run
}

// New returns a Source. The error joins the faults of Config.Validate.
func New(c Config, env cdc.Env) (*Source, error) {
	var errs []error
	for _, f := range c.Validate() {
		errs = append(errs, f)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.fill()
	if c.ServerID == 0 {
		c.ServerID = serverID(env.Pipeline)
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Limit == nil && (c.RateLimit.RowsPerSecond > 0 || c.RateLimit.BytesPerSecond > 0) {
		env.Limit = budget.NewLimiter(c.RateLimit.RowsPerSecond, int64(c.RateLimit.BytesPerSecond))
	}
	target, err := replica.ParseDSN(c.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	filter, _ := tables.New(c.Tables)
	s := &Source{config: c, target: target, env: env, filter: filter}
	s.setState(cdc.StateStopped, "not started")
	return s, nil
}

// Initial returns where the configuration says that a new pipeline begins,
// after checking what only a beginning needs: that the tables which are named
// one by one are there, and that a start which is written out can be read from.
// Later on tables may be dropped and the start's log be purged. Faults:
// unknown_table, start_invalid, position_purged.
func (s *Source) Initial(ctx context.Context) (sdk.Position, error) {
	return s.ask(ctx, func(v *server) (*position.Position, error) {
		if err := s.checkTables(ctx, v); err != nil {
			return nil, err
		}
		switch s.config.Start {
		case startEarliest:
			return v.earliest(ctx)
		case startLatest:
			return v.head(ctx)
		}
		p, err := parseStart(s.config.Start)
		if err != nil {
			return nil, err
		}
		if p.Flavor != 0 && p.Flavor != v.flavor {
			return nil, fault.New(fault.Config, "start_invalid", "start", "write the GTIDs as the server prints them",
				"GTIDs of %v, but the server is %v", p.Flavor, v.flavor)
		}
		p.Flavor, p.Server = v.flavor, v.uuid
		return p, s.checkStart(ctx, v, p)
	})
}

// Head returns the end of the server's log.
func (s *Source) Head(ctx context.Context) (sdk.Position, error) {
	return s.ask(ctx, func(v *server) (*position.Position, error) { return v.head(ctx) })
}

// ask opens a connection for one answer.
func (s *Source) ask(ctx context.Context, f func(*server) (*position.Position, error)) (_ sdk.Position, err error) {
	v, err := s.open(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	p, err := f(v)
	if err != nil {
		return "", s.sqlFault(err)
	}
	return p.Encode(), nil
}

// Covers compares GTIDs where both have them, else places.
func (s *Source) Covers(pos, head sdk.Position) (bool, error) {
	p, err := position.Decode(pos)
	if err != nil {
		return false, positionFault(err)
	}
	h, err := position.Decode(head)
	if err != nil {
		return false, positionFault(err)
	}
	return p.Covers(h)
}

func positionFault(err error) error {
	return fault.New(fault.Fatal, "position_invalid", "", "begin anew, or restore the state that belongs to this source", "%w", err)
}

// Run reads until ctx ends or something is wrong that a new connection does not
// mend.
func (s *Source) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) (err error) {
	from, err := position.Decode(start.Base)
	if err != nil {
		return positionFault(err)
	}
	if s.config.Mode == modeFile && from.File != "" {
		from.GTIDs = nil
	}
	a := assemble.New(assemble.Options{Env: s.env, Filter: s.filter, Catalog: catalog{s},
		EventBytesMax: int(s.config.EventBytesMax), KeepGTIDs: s.config.Mode != modeFile, Emit: emit, Log: again{s}, HeldBytesMax: s.held})
	if err := a.Load(s.env.Schemas); err != nil {
		return err
	}
	a.Begin(from, start.Tx)
	s.mu.Lock()
	s.asm = a
	s.mu.Unlock()
	defer func() { s.setState(cdc.StateStopped, err.Error()) }()
	for attempt := 0; ; attempt++ {
		r := &run{s: s, a: a, start: from}
		err := r.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.stop != nil:
			return a.Fail(ctx, r.stop)
		case !mendable(err):
			return a.Fail(ctx, err)
		}
		if r.events > 0 {
			attempt = 0
		}
		if err := s.wait(ctx, attempt, err); err != nil {
			return err
		}
		from = a.Again()
	}
}

// wait sleeps between two attempts.
func (s *Source) wait(ctx context.Context, attempt int, why error) error {
	s.mu.Lock()
	s.reconnects++
	s.mu.Unlock()
	s.setState(cdc.StateWaiting, why.Error())
	if s.env.Log != nil {
		s.env.Log.Warn("connection lost, reading goes on from the last commit", "reason", why)
	}
	d := min(backoffMax, backoffMin<<min(attempt, 10))
	d = d/2 + rand.N(d/2)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// mendable reports whether another connection may get further.
func mendable(err error) bool {
	f, isFault := errors.AsType[*fault.Fault](err)
	if isFault {
		return f.Code == "server_unreachable" || f.Class == fault.Retryable
	}
	switch replica.Code(err) {
	case 0, 1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 3169, 4031:
		// Not from the server, or from one that is full, going down, or has
		// ended the session.
		return true
	}
	return false
}

// run is one connection's worth of reading.
type run struct {
	s      *Source
	a      *assemble.Assembler
	start  *position.Position
	events int
	stop   error // of emit and the assembler: ends Run
}

func (r *run) run(ctx context.Context) error {
	s := r.s
	s.setState(cdc.StateConnecting, "connecting to "+s.target.Addr)
	v, err := s.open(ctx)
	if err != nil {
		return err
	}
	if err := r.fits(ctx, v); err != nil {
		return errors.Join(s.sqlFault(err), v.conn.Close())
	}
	r.a.Server(v.uuid)
	stream, err := replica.Dump(ctx, v.conn, r.start, replica.DumpOptions{
		ServerID: s.config.ServerID, Name: s.env.Pipeline, Heartbeat: s.config.HeartbeatInterval.Std(),
		EventBytesMax: int(s.config.EventBytesMax),
		Hooks: replica.Hooks{
			Drained: func() error { return r.keep(r.a.Flush(ctx)) },
			Limit:   func(n int) error { return r.keep(r.limit(ctx, n)) },
			ReadMax: s.env.Limit.BytesBurst(),
		}})
	if err != nil {
		return s.dumpFault(err)
	}
	s.setState(cdc.StateStreaming, "")
	return r.read(ctx, stream)
}

// read takes events until something ends it. The goroutine that waits for ctx
// is gone when it returns.
func (r *run) read(ctx context.Context, stream *replica.Stream) error {
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
		if err != nil {
			return r.s.dumpFault(err)
		}
		r.events++
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
	if r.a.Waiting() != "" || r.s.env.Limit.TryBytes(n) {
		return nil
	}
	if err := r.a.Flush(ctx); err != nil {
		return err
	}
	return r.s.env.Limit.Bytes(ctx, n)
}

// fits checks that the server is the one that the position belongs to, and that
// the transaction which is looked for can come.
func (r *run) fits(ctx context.Context, v *server) error {
	from := r.start
	if from.Flavor != v.flavor {
		return fault.New(fault.Environment, "server_changed", r.s.target.Addr, "connect to the server that was read before, or begin anew",
			"the position is of %v, the server is %v", from.Flavor, v.flavor)
	}
	if from.GTIDs == nil && from.Server != "" && from.Server != v.uuid {
		return fault.New(fault.Environment, "server_changed", r.s.target.Addr,
			"connect to the server that was read before; to move between servers, use GTIDs (gtid_mode=ON and mode: gtid)",
			"the position %s is of server %s, this is server %s", from.Place(), from.Server, v.uuid)
	}
	tx := r.a.Waiting()
	if tx == "" {
		return nil
	}
	head, err := v.head(ctx)
	if err != nil {
		return err
	}
	missing := false
	if id, err := gtid.ParseID(v.flavor, tx); err == nil && head.GTIDs != nil {
		missing = !head.GTIDs.Has(id) || from.GTIDs != nil && from.GTIDs.Has(id)
	} else if file, pos, ok := position.ParsePlace(tx); ok && err != nil {
		end, errEnd := position.Compare(head.File, head.Pos, file, pos)
		begin, errBegin := position.Compare(from.File, from.Pos, file, pos)
		missing = errEnd != nil || errBegin != nil || end <= 0 || begin > 0
	}
	if missing {
		return fault.New(fault.Fatal, "source_behind", r.s.target.Addr,
			"connect to a server that has all that was read before, or copy the followed tables' content anew",
			"transaction %s does not come behind %s on this server", tx, from.Place())
	}
	return nil
}

// Confirm does nothing: the server keeps its log by its own rules.
func (s *Source) Confirm(sdk.Position) {}

func (s *Source) setState(state cdc.State, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state || s.since.IsZero() {
		s.since = s.env.Now()
	}
	s.state, s.reason = state, reason
}

// Status returns what the source knows of itself.
func (s *Source) Status() cdc.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := cdc.Status{State: s.state, Reason: s.reason, Since: s.since, Reconnects: s.reconnects}
	if s.asm != nil {
		n := s.asm.Stats()
		st.Position, st.LogPos, st.BytesRead, st.RowsRead, st.TxRead = n.Position, n.LogPos, n.Bytes, n.Rows, n.Txs
		st.LastEvent, st.CommitTime = n.Event, n.Commit
	}
	return st
}

// Close has nothing to close: connections are open only during a call.
func (s *Source) Close() error { return nil }

// timeout reports whether the connection was silent for too long.
func timeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// lost describes a connection's end.
func (s *Source) lost(err error) error {
	if timeout(err) {
		err = fmt.Errorf("no sign of life from the server: %w", err)
	}
	return fault.New(fault.Retryable, "connection_lost", s.target.Addr, "reading goes on by itself; see the server's log if it happens often", "%w", err)
}
