package mysql

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Source reads a server's log. It implements cdc.Source.
type Source struct {
	config Config
	hosts  []host // of the list, in its order
	env    cdc.Env
	filter *tables.Filter
	held   int // bytes of prepared transactions in memory; 0 takes the default

	behindMax, pauseMax time.Duration                             // see the constants
	chunkRows           int                                       // likewise copyRowsMax
	splitRows           int                                       // likewise copyRowsMax
	between             func(snapshot.Database) snapshot.Database // tests

	blocked atomic.Int64 // since when the pipeline takes nothing, at a boundary; 0 while it does

	mu         sync.Mutex
	state      cdc.State
	reason     string
	since      time.Time
	reconnects uint64
	asm        *assemble.Assembler // of the running or the last Run
	at         int                 // the host that was used last
	stream     *replica.Stream     // that is read now
	paused     bool                // the stream was closed by endPause
	keeps      time.Duration       // how long the server keeps its log; 0 for ever
	born       time.Time           // when the file was begun at which reading stands
	warned     time.Time           // of the end of the log's retention
	copier     *snapshot.Copier    // of the running or the last Run; nil without
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
	targets, err := replica.Targets(c.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	filter, _ := tables.New(c.Tables)
	s := &Source{config: c, env: env, filter: filter, behindMax: behindMax, pauseMax: pauseMax, chunkRows: copyRowsMax, splitRows: splitRowsMin}
	for _, t := range targets {
		s.hosts = append(s.hosts, host{t})
	}
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
		if s.copies() {
			p, err := v.head(ctx)
			if err != nil {
				return nil, err
			}
			return s.begun(p), nil
		}
		return s.locate(ctx, v, s.config.Start)
	})
}

// Locate implements cdc.Locator: a position of this source, or what start takes.
func (s *Source) Locate(ctx context.Context, place string) (sdk.Position, error) {
	return s.ask(ctx, func(v *server) (*position.Position, error) {
		if !strings.HasPrefix(place, "{") {
			return s.locate(ctx, v, place)
		}
		p, err := position.Decode(sdk.Position(place))
		if err != nil {
			return nil, badStart(err)
		}
		return p, s.checkStart(ctx, v, p)
	})
}

func badStart(err error) error {
	return fault.New(fault.Config, "start_invalid", "start", "write file:position, GTIDs as the server prints them, earliest or latest, or a position as cdcd position show prints it", "%w", err)
}

// locate finds a place in the form of the configuration's start.
func (s *Source) locate(ctx context.Context, v *server, start string) (*position.Position, error) {
	switch start {
	case startEarliest:
		return v.earliest(ctx)
	case startLatest:
		return v.head(ctx)
	}
	p, err := parseStart(start)
	if err != nil {
		return nil, badStart(err)
	}
	if p.Flavor != 0 && p.Flavor != v.flavor {
		return nil, fault.New(fault.Config, "start_invalid", "start", "write the GTIDs as the server prints them",
			"GTIDs of %v, but the server is %v", p.Flavor, v.flavor)
	}
	p.Flavor, p.Server = v.flavor, v.uuid
	return p, s.checkStart(ctx, v, p)
}

// Head returns the end of the server's log.
func (s *Source) Head(ctx context.Context) (sdk.Position, error) {
	return s.ask(ctx, func(v *server) (*position.Position, error) {
		p, err := v.head(ctx)
		if err == nil && s.copies() {
			p.Snapshot = (&snapshot.Cursor{For: s.config.Tables}).Encode()
		}
		return p, err
	})
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
		return "", v.sqlFault(err)
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
	ok, err := p.Covers(h)
	if !ok || err != nil {
		return false, err
	}
	return coversCopy(p, h)
}

func positionFault(err error) error {
	return fault.New(fault.Fatal, "position_invalid", "", "begin anew, or restore the state that belongs to this source", "%w", err)
}

// Confirm lets requests for copies of tables end that are delivered. The server
// keeps its log by its own rules.
func (s *Source) Confirm(pos sdk.Position) { s.confirm(pos) }

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
	st := cdc.Status{State: s.state, Reason: s.reason, Since: s.since, Reconnects: s.reconnects,
		Server: s.hosts[s.at].Addr, Retained: s.retained(), Snapshot: s.copied()}
	if s.asm != nil {
		n := s.asm.Stats()
		st.Position, st.LogPos, st.BytesRead, st.RowsRead, st.TxRead = n.Position, n.LogPos, n.Bytes, n.Rows, n.Txs
		st.LastEvent, st.CommitTime = n.Event, n.Commit
	}
	return st
}

// Close has nothing to close: connections are open only during a call.
func (s *Source) Close() error { return nil }
