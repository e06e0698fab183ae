package binlogfile

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// flushBytes is how much is read between two looks whether a batch should go
// out: files are always "there to read", so a reader that is limited, or that
// meets few followed rows, must not hold batches back.
const flushBytes = 1 << 20

// Source reads files. It implements cdc.Source.
type Source struct {
	config Config
	env    cdc.Env
	filter *tables.Filter

	mu     sync.Mutex
	state  cdc.State
	reason string
	since  time.Time
	asm    *assemble.Assembler // of the running or the last Run
}

// New returns a Source. The error joins the faults of Config.Validate.
func New(c Config, env cdc.Env) (*Source, error) {
	if c.EventBytesMax == 0 {
		c.EventBytesMax = binlog.EventBytesMax
	}
	var errs []error
	for _, f := range c.Validate() {
		errs = append(errs, f)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Limit == nil && (c.RateLimit.RowsPerSecond > 0 || c.RateLimit.BytesPerSecond > 0) {
		env.Limit = budget.NewLimiter(c.RateLimit.RowsPerSecond, int64(c.RateLimit.BytesPerSecond))
	}
	filter, _ := tables.New(c.Tables)
	s := &Source{config: c, env: env, filter: filter}
	s.setState(cdc.StateStopped, "not started")
	return s, nil
}

// Preflight opens every file.
func (s *Source) Preflight(ctx context.Context) error {
	var errs []error
	for _, path := range s.config.Files { // all that are missing, not the first alone
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, unreadable(path, err))
		}
	}
	files, err := s.list()
	if err != nil && len(errs) == 0 {
		return err
	}
	if len(errs) > 0 {
		files = s.config.Files
	}
	for _, path := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			continue
		}
		r, err := s.open(path)
		if err == nil {
			err = r.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// flavor returns whose a file is.
func (s *Source) flavor(path string) (f gtid.Flavor, err error) {
	r, err := s.open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	raw, _, err := r.Next()
	if err != nil {
		return 0, err
	}
	p := binlog.NewParser(binlog.Options{EventBytesMax: int(s.config.EventBytesMax)})
	if _, err := p.Parse(raw); err != nil {
		return 0, err
	}
	if format, _ := p.Format(); format.MariaDB {
		return gtid.MariaDB, nil
	}
	return gtid.MySQL, nil
}

// Initial returns the beginning of the first file.
func (s *Source) Initial(context.Context) (sdk.Position, error) {
	files, err := s.list()
	if err != nil {
		return "", err
	}
	f, err := s.flavor(files[0])
	if err != nil {
		return "", err
	}
	return (&position.Position{Flavor: f, File: files.base(0), Pos: position.FirstPos}).Encode(), nil
}

// Locate implements cdc.Locator: earliest, or a position of this source.
func (s *Source) Locate(ctx context.Context, place string) (sdk.Position, error) {
	if place == "earliest" {
		return s.Initial(ctx)
	}
	p, err := position.Decode(sdk.Position(place))
	if err != nil {
		return "", fault.New(fault.Config, "start_invalid", "start", "write earliest, or a position as cdcd position show prints it", "%w", err)
	}
	return p.Encode(), nil
}

// Head returns the end of the last file.
func (s *Source) Head(context.Context) (sdk.Position, error) {
	files, err := s.list()
	if err != nil {
		return "", err
	}
	f, err := s.flavor(files[0])
	if err != nil {
		return "", err
	}
	last := len(files) - 1
	n, err := size(files[last])
	if err != nil {
		return "", err
	}
	return (&position.Position{Flavor: f, File: files.base(last), Pos: uint64(n)}).Encode(), nil
}

// Covers compares two places in the order of the files.
func (s *Source) Covers(pos, head sdk.Position) (bool, error) {
	files, err := s.list()
	if err != nil {
		return false, err
	}
	p, i, err := files.locate(pos)
	if err != nil {
		return false, err
	}
	h, k, err := files.locate(head)
	if err != nil {
		return false, err
	}
	return i > k || i == k && p.Pos >= h.Pos, nil
}

// locate reads a position and finds its file.
func (l log) locate(text sdk.Position) (*position.Position, int, error) {
	p, err := position.Decode(text)
	if err != nil {
		return nil, 0, fault.New(fault.Fatal, "position_invalid", "", "begin anew, or restore the state that belongs to this configuration", "%w", err)
	}
	i := l.index(p.File)
	if i < 0 {
		return nil, 0, fault.New(fault.Config, "file_missing", p.File, "add the file to files, or begin anew",
			"reading stopped at %s, which is not among the files", p.Place())
	}
	return p, i, nil
}

// Run reads to the end of the last file and returns io.EOF.
func (s *Source) Run(ctx context.Context, start cdc.Start, emit func(context.Context, *cdc.Batch) error) (err error) {
	files, err := s.list()
	if err != nil {
		return err
	}
	from, i, err := files.locate(start.Base)
	if err != nil {
		return err
	}
	from.GTIDs = nil
	a := assemble.New(assemble.Options{Env: s.env, Filter: s.filter, EventBytesMax: int(s.config.EventBytesMax),
		Files: true, Emit: emit, Log: again{s, files}})
	if err := a.Load(s.env.Schemas); err != nil {
		return err
	}
	a.Begin(from, start)
	s.mu.Lock()
	s.asm = a
	s.mu.Unlock()
	s.setState(cdc.StateStreaming, "")
	defer func() {
		reason := "end of the last file"
		if err != io.EOF {
			reason = err.Error()
		}
		s.setState(cdc.StateStopped, reason)
	}()
	offset := uint64(from.Dump())
	for ; i < len(files); i++ {
		if err := a.File(files.base(i)); err != nil {
			return err
		}
		if err := s.file(ctx, a, files[i], i == len(files)-1, offset); err != nil {
			if ctx.Err() == nil { // what is whole before the damage is good
				err = a.Fail(ctx, err)
			}
			return err
		}
		offset = 0
	}
	if err := a.End(ctx); err != nil {
		return err
	}
	if tx := a.Waiting(); tx != "" {
		return fault.New(fault.Fatal, "source_behind", files.base(len(files)-1),
			"add the files that follow, or begin anew", "transaction %s is not in the files", tx)
	}
	return io.EOF
}

// file reads one file from an offset on; its format description comes first.
func (s *Source) file(ctx context.Context, a *assemble.Assembler, path string, last bool, offset uint64) (err error) {
	r, err := s.open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	unflushed := 0
	for first := true; ; first = false {
		raw, at, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case fault.HasCode(err, binlog.CodeTruncated) && r.InUse() && last:
			return nil // the server is writing it, or has crashed: no commit is cut off
		case err != nil:
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !first && uint64(at) < offset {
			continue
		}
		if a.Waiting() == "" && !s.env.Limit.TryBytes(len(raw)) {
			if err := a.Flush(ctx); err != nil {
				return err
			}
			if err := s.env.Limit.Bytes(ctx, len(raw)); err != nil {
				return err
			}
		}
		if err := a.Event(ctx, raw); err != nil {
			return err
		}
		if unflushed += len(raw); unflushed >= flushBytes {
			unflushed = 0
			if err := a.Flush(ctx); err != nil {
				return err
			}
		}
	}
}

// Confirm does nothing: files stay.
func (s *Source) Confirm(sdk.Position) {}

func (s *Source) setState(state cdc.State, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.reason, s.since = state, reason, s.env.Now()
}

// Status returns what the source knows of itself.
func (s *Source) Status() cdc.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := cdc.Status{State: s.state, Reason: s.reason, Since: s.since}
	if s.asm != nil {
		n := s.asm.Stats()
		st.Position, st.LogPos, st.BytesRead, st.RowsRead, st.TxRead = n.Position, n.LogPos, n.Bytes, n.Rows, n.Txs
		st.LastEvent, st.CommitTime = n.Event, n.Commit
	}
	return st
}

// Close has nothing to close: files are open only during Run.
func (s *Source) Close() error { return nil }
