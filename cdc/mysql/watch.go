package mysql

import (
	"context"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

const (
	// pauseMax is how long a connection is kept for a pipeline that takes nothing.
	// Inside a transaction it is kept for as long as that takes.
	pauseMax = time.Minute
	// watchEvery is how often Run's helper looks.
	watchEvery = 10 * time.Second
	// warnEvery is how often the end of the log's retention is warned of.
	warnEvery = 10 * time.Minute
	// warnPart of the time for which the server keeps its log is the time left
	// from which on there are warnings.
	warnPart = 4
)

// watch looks after a Run whose own goroutine may be blocked: it closes the
// connection of a long pause, and warns before the server deletes what is not
// read yet. It ends with ctx.
func (s *Source) watch(ctx context.Context) {
	tick := time.NewTicker(min(watchEvery, s.pauseMax/4))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.endPause()
			s.warnRetention()
		}
	}
}

// block is assemble.Options.Blocked.
func (s *Source) block(on bool) {
	if on {
		s.blocked.Store(time.Now().UnixNano())
		return
	}
	s.blocked.Store(0)
}

// endPause closes the connection when the pipeline has taken nothing for long:
// the server need not keep a thread and a log file open for that. What has come
// of the log stays good, and reading goes on behind it.
func (s *Source) endPause() {
	since := s.blocked.Load()
	if since == 0 || time.Since(time.Unix(0, since)) < s.pauseMax {
		return
	}
	s.mu.Lock()
	stream := s.stream
	s.stream, s.paused = nil, stream != nil
	s.mu.Unlock()
	if stream != nil {
		stream.Interrupt()
		s.setState(cdc.StateWaiting, "the pipeline takes nothing; the connection is closed until it does")
	}
}

// reading notes the stream that is read; nil for none.
func (s *Source) reading(stream *replica.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = stream
	if stream != nil {
		s.paused = false
	}
}

// wasPaused reports whether endPause has closed the stream.
func (s *Source) wasPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused
}

func pausedFault(h host) error {
	return fault.New(fault.Retryable, "connection_lost", h.Addr, "nothing to do",
		"the connection was closed because the pipeline took nothing for long; reading goes on")
}

// retention returns how long the server keeps its log; 0 for ever.
func (v *server) retention(ctx context.Context) (time.Duration, error) {
	vars, err := v.variables(ctx, "binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge")
	if err != nil || vars["binlog_expire_logs_auto_purge"] == "OFF" {
		return 0, err
	}
	for name, unit := range map[string]time.Duration{"binlog_expire_logs_seconds": time.Second, "expire_logs_days": 24 * time.Hour} {
		if n, err := strconv.ParseFloat(vars[name], 64); err == nil && n > 0 {
			return time.Duration(n * float64(unit)), nil
		}
	}
	return 0, nil
}

// keep notes how long the server keeps its log, and when the file was begun at
// which reading goes on.
func (s *Source) keep(keeps time.Duration, born uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps = keeps
	if born != 0 {
		s.born = time.Unix(int64(born), 0)
	}
}

// retained returns until when the server keeps what is not read yet. A file is
// deleted when its last change is old enough, and that is not before the last
// transaction that was read from it. The caller holds mu.
func (s *Source) retained() time.Time {
	since := s.born
	if s.asm != nil {
		for _, t := range []time.Time{s.asm.Stats().Commit, s.asm.Stats().Idle} {
			if t.After(since) {
				since = t
			}
		}
	}
	if s.keeps == 0 || since.IsZero() {
		return time.Time{}
	}
	return since.Add(s.keeps)
}

// warnRetention warns when little is left of the time for which the server
// keeps what is not read yet.
func (s *Source) warnRetention() {
	now := s.env.Now()
	s.mu.Lock()
	until, keeps := s.retained(), s.keeps
	due := !until.IsZero() && until.Sub(now) < keeps/warnPart && now.Sub(s.warned) >= warnEvery
	if due {
		s.warned = now
	}
	s.mu.Unlock()
	if due && s.env.Log != nil {
		s.env.Log.Warn("the server will delete log that is not read yet", "in", until.Sub(now).Round(time.Second), "keeps", keeps,
			"hint", "let the pipeline catch up, or keep logs longer: SET GLOBAL binlog_expire_logs_seconds=...")
	}
}

// lost returns the code by which an error says that log is gone for good, "" if
// it does not. Of a list, each host must say so: otherwise one may yet have it.
func lost(verdicts ...error) (code string) {
	for _, v := range verdicts {
		switch code = fault.Of(v).Code; code {
		case "position_purged", assemble.CodeReplaced:
		default:
			return ""
		}
	}
	return code
}

// recordGap puts a lost part of the log into the ledger: from the position to
// the oldest one that the server still has.
func (s *Source) recordGap(ctx context.Context, from *position.Position, code string, why error) error {
	if s.env.Gaps == nil || code == "" {
		return nil
	}
	g := cdc.Gap{Cause: code, From: from.Encode(), Place: from.Place(), Detail: why.Error(), Time: s.env.Now()}
	if v, err := s.open(ctx); err == nil {
		if to, err := v.earliest(ctx); err == nil { // otherwise the end is not known, and the record says so
			g.To = to.Encode()
		}
		_ = v.conn.Close() // it was only asked
	}
	return g.Record(s.env.Gaps)
}
