package natsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
)

// Codes of this package's faults.
const (
	// CodeUnreachable: no server answers, or it refuses the connection.
	CodeUnreachable = "nats_unreachable"
	// CodeNoJetStream: the server answers, and JetStream is off for the account.
	CodeNoJetStream = "nats_no_jetstream"
	// CodeTooOld: the server lacks what the delivery protocol needs.
	CodeTooOld = "nats_too_old"
	// CodeStart: the embedded server did not start.
	CodeStart = "nats_start_failed"
	// CodeInUse: another process has the embedded server's store.
	CodeInUse = "state_dir_in_use"
)

// PayloadBytesMax is the largest message that the embedded server takes.
const PayloadBytesMax = 8 << 20

// BatchMessagesMax is how many messages the embedded server takes in one atomic
// batch; its own default is 1,000. It holds a batch in memory while it stores it.
const BatchMessagesMax = 10_000

// SyncInterval is how often the embedded server syncs its files when it does
// not sync before each acknowledgement. The server's own default is 2 minutes.
const SyncInterval = 200 * time.Millisecond

// Config says which NATS to use: an embedded one unless URL is set.
type Config struct {
	// Dir is the daemon's state directory; the embedded server's files are in
	// its folder "nats".
	Dir string
	// Listen is the embedded server's host:port for clients; empty takes
	// connections from inside the process only.
	Listen string
	// ListenElse takes another port of the same host when Listen's is taken:
	// for an address that nobody has chosen. ClientURL tells which.
	ListenElse bool
	// Fsync makes the embedded server sync to disk before each acknowledgement.
	Fsync bool
	// StoreBytesMax bounds the embedded server's streams; 0 means as much as the
	// disk has at the time, less a reserve of a fifth or 1 GiB, whichever is
	// less. A larger value is cut down to that.
	StoreBytesMax unit.Bytes

	// Access says who else may connect to the embedded server.
	Access Access

	// URL names an external server, or several of one cluster with commas between.
	URL string
	// Login is how to get in there.
	Login Login

	// TLS is the embedded server's, or for the external one.
	TLS TLS

	Log *slog.Logger
}

// NATS is a running embedded server, or a way to an external one. Its methods
// may be called from any goroutine.
type NATS struct {
	cfg  Config
	lock *dirLock // of the embedded store
	gate *gate    // of the embedded server

	trouble chan error // what the log of the server says that only a restart mends; Start's, then Run's

	mu        sync.Mutex
	server    *server.Server // nil for an external server, while it starts again, and after Close
	listen    string         // where it listens; Config.Listen before it first does
	limitSet  int64          // of the store, as the server has it
	health    Health         // Health adds the reason
	sick      error          // why the server must be started again
	sickSince time.Time
	lowSince  time.Time            // since when the disk has less than its reserve
	conns     map[*nats.Conn]error // why the last attempt to reconnect failed; nil while connected
	closed    bool
}

// Start starts the embedded server, or checks the external one: reachable,
// JetStream there, new enough. Its faults are of class Environment.
func Start(ctx context.Context, cfg Config) (*NATS, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &NATS{cfg: cfg, gate: newGate(cfg.Access), listen: cfg.Listen, conns: map[*nats.Conn]error{}}
	if cfg.URL == "" {
		if err := n.startEmbedded(ctx); err != nil {
			return nil, err
		}
	}
	if err := n.check(ctx); err != nil {
		_ = n.Close(ctx) // the check's error says more
		return nil, err
	}
	return n, nil
}

// Embedded reports whether the server runs inside this process.
func (n *NATS) Embedded() bool { return n.cfg.URL == "" }

// ClientURL is where other processes connect, without secrets: the external
// servers, or the embedded one's listener; empty when it does not listen.
func (n *NATS) ClientURL() string {
	if n.cfg.URL != "" {
		return n.cfg.place()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cfg.Listen == "" || n.server == nil {
		return ""
	}
	return n.server.ClientURL()
}

// Connect opens a connection that reconnects by itself for as long as it is
// open. While it is down, publishing fails rather than fills a buffer: who
// publishes must know. The caller closes it, or Close does. name is shown in
// the server's list of connections.
func (n *NATS) Connect(ctx context.Context, name string) (*nats.Conn, error) {
	opts, err := n.options(ctx, name)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(n.cfg.URL, opts...)
	if err != nil {
		return nil, n.unreachable(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		go nc.Close() // its handler wants the mutex
		return nil, n.unreachable(server.ErrServerNotRunning)
	}
	n.conns[nc] = nil
	return nc, nil
}

// options are those of Connect.
func (n *NATS) options(ctx context.Context, name string) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("cdcd " + name),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a login that is refused for a while must not end the connection for ever
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.Timeout(connectTimeout(ctx)),
		nats.ClosedHandler(n.forget),
		nats.ErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
			if !nc.IsConnected() { // a login that was refused
				n.noteAttempt(nc, name, err)
				return
			}
			if _, denied := rights.Parse(err); denied { // one for each message: who sent them says it once
				n.cfg.Log.Debug("NATS refuses", "connection", name, "error", err)
				return
			}
			n.cfg.Log.Warn("NATS reports an error", "connection", name, "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				n.cfg.Log.Warn("connection to NATS lost", "connection", name, "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(nc *nats.Conn, err error) { n.noteAttempt(nc, name, err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			n.noteAttempt(nc, name, nil)
			n.cfg.Log.Info("connected to NATS again", "connection", name)
		}),
	}
	if n.cfg.URL == "" {
		return append(opts, nats.InProcessServer(&pipe{nats: n}), nats.UserInfo(insideUser, n.gate.inside)), nil
	}
	more, err := n.cfg.external()
	return append(opts, more...), err
}

// reconnectDelay is how long to wait when no server let the client in, for the
// nth time: a server that restarts is met at once, one that refuses is not
// pressed.
func reconnectDelay(attempts int) time.Duration {
	delay := min(50*time.Millisecond<<min(attempts, 6), 2*time.Second)
	return delay + time.Duration(rand.Int64N(int64(delay)/2))
}

// noteAttempt keeps why a connection does not come back, and says it when it
// changes.
func (n *NATS) noteAttempt(nc *nats.Conn, name string, err error) {
	n.mu.Lock()
	before, known := n.conns[nc]
	if known {
		n.conns[nc] = err
	}
	n.mu.Unlock()
	if err == nil || !known || n.Embedded() || before != nil && before.Error() == err.Error() {
		return
	}
	f := fault.Of(n.cfg.connectFault(err))
	n.cfg.Log.Warn("no connection to NATS yet", "connection", name, "error", f, "hint", f.Hint)
}

// Trouble returns why a connection of Connect's that was lost does not come
// back, where the server refuses it; nil otherwise. It is of class Retryable:
// the server has let it in before.
func (n *NATS) Trouble(nc *nats.Conn) error {
	n.mu.Lock()
	err := n.conns[nc]
	n.mu.Unlock()
	if last := nc.LastError(); last != nil { // of a handshake, which no handler is told of
		err = last
	}
	if err == nil || nc.IsConnected() || n.Embedded() {
		return nil
	}
	f := *fault.Of(n.cfg.connectFault(err))
	if f.Code == CodeUnreachable {
		return nil // to be waited for
	}
	f.Class = fault.Retryable
	return &f
}

// Close closes all connections and ends the embedded server; no goroutine of
// either is left when it returns without an error. Further calls do nothing.
func (n *NATS) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	s, conns := n.server, n.conns
	n.server, n.conns = nil, map[*nats.Conn]error{}
	n.mu.Unlock()
	for nc := range conns {
		nc.Close()
	}
	err := shutdown(ctx, s)
	if err == nil {
		n.lock.release()
	}
	return err
}

func (n *NATS) forget(nc *nats.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, nc)
}

func (n *NATS) unreachable(err error) error {
	if n.Embedded() {
		return fault.New(fault.Environment, CodeUnreachable, "embedded NATS",
			"look at the log for why the embedded server ended, then restart the daemon", "connect: %w", err)
	}
	return n.cfg.connectFault(err)
}

func connectTimeout(ctx context.Context) time.Duration {
	const most = 5 * time.Second
	deadline, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return max(min(most, time.Until(deadline)), time.Millisecond)
}

// check proves that a connection works and that JetStream is there and new enough.
func (n *NATS) check(ctx context.Context) error {
	nc, err := n.Connect(ctx, "check")
	if err != nil {
		return err
	}
	defer nc.Close()
	where := n.cfg.place()
	if v := nc.ConnectedServerVersion(); !atLeast(v, 2, 14) {
		return fault.New(fault.Environment, CodeTooOld, where,
			"update nats-server to 2.14 or newer, which has the batches that delivery rests on; cdcd is tested with 2.15.2",
			"the server is version %s", v)
	}
	ctx, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	var watch rights.Watch
	watch.Over(nc)
	err = watch.Ask(ctx, []string{apiInfo}, func(ctx context.Context) error { return jetStreamAnswers(ctx, nc) })
	if d, denied := errors.AsType[*rights.Denial](err); denied {
		return d.Fault(where, rights.Needed{Publish: []string{apiInfo}, Subscribe: []string{nats.InboxPrefix + ">"}})
	}
	if err != nil {
		return fault.New(fault.Environment, CodeNoJetStream, where,
			"turn JetStream on: `jetstream {}` in the server's configuration, and for the account that the credentials name",
			"JetStream does not answer: %w", err)
	}
	return nil
}

// apiInfo is where JetStream tells what the account has.
const apiInfo = "$JS.API.INFO"

// electionPatience is how long a start waits for JetStream's answer. Electing a
// leader takes up to 14 seconds, and longer where the first vote elects nobody.
const electionPatience = 45 * time.Second

// How long an answer may take before the question is put again, and how long a
// server rests that has answered that nobody leads: a cluster that elects somebody
// drops what it is asked meanwhile, or says so.
const (
	answerPatience = time.Second
	electionRest   = 100 * time.Millisecond
	errNoLeader    = 10008 // JSClusterNotAvailErr of nats-server's errors
)

// jetStreamAnswers asks until JetStream is there, or says that it is not.
func jetStreamAnswers(ctx context.Context, nc *nats.Conn) error {
	for {
		one, cancel := context.WithTimeout(ctx, answerPatience)
		m, err := nc.RequestWithContext(one, apiInfo, nil)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			continue
		case err != nil:
			return err
		}
		var answer struct {
			Error *struct {
				Code        int `json:"err_code"`
				Description string
			}
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return err
		}
		switch {
		case answer.Error == nil:
			return nil
		case answer.Error.Code != errNoLeader:
			return errors.New(answer.Error.Description)
		}
		select {
		case <-time.After(electionRest):
		case <-ctx.Done():
			return errors.New(answer.Error.Description)
		}
	}
}

// atLeast compares "major.minor.patch"; what can't be read is let through, for
// builds from source.
func atLeast(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n < 2 {
		return true
	}
	return a > major || a == major && b >= minor
}
