package natsd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
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
	// StoreBytesMax bounds the embedded server's files; 0 means as much as the
	// disk has, less a fifth. A larger value is cut down to that.
	StoreBytesMax unit.Bytes

	// URL names an external server, or several of one cluster with commas between.
	URL string
	// Creds is the content of a credentials file for URL.
	Creds unit.Secret

	Log *slog.Logger
}

// NATS is a running embedded server, or a way to an external one. Its methods
// may be called from any goroutine.
type NATS struct {
	cfg  Config
	lock *dirLock // of the embedded store

	mu     sync.Mutex
	server *server.Server // nil for an external server, and after Close
	logger *logger
	conns  map[*nats.Conn]struct{}
	closed bool
}

// Start starts the embedded server, or checks the external one: reachable,
// JetStream there, new enough. Its faults are of class Environment.
func Start(ctx context.Context, cfg Config) (*NATS, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &NATS{cfg: cfg, conns: map[*nats.Conn]struct{}{}}
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

// ClientURL is where other processes connect: the external servers, or the
// embedded one's listener; empty when it does not listen.
func (n *NATS) ClientURL() string {
	if n.cfg.URL != "" {
		return n.cfg.URL
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
	opts := []nats.Option{
		nats.Name("cdcd " + name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second),
		nats.Timeout(connectTimeout(ctx)),
		nats.ClosedHandler(n.forget),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			n.cfg.Log.Warn("NATS reports an error", "connection", name, "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				n.cfg.Log.Warn("connection to NATS lost", "connection", name, "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			n.cfg.Log.Info("connected to NATS again", "connection", name)
		}),
	}
	if n.cfg.URL == "" {
		opts = append(opts, nats.InProcessServer(n))
	} else if !n.cfg.Creds.IsZero() {
		opts = append(opts, nats.UserCredentialBytes([]byte(n.cfg.Creds.Reveal())))
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
	n.conns[nc] = struct{}{}
	return nc, nil
}

// InProcessConn implements nats.InProcessConnProvider; a connection that
// reconnects meets the server that runs by then.
func (n *NATS) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	s := n.server
	n.mu.Unlock()
	if s == nil {
		return nil, server.ErrServerNotRunning
	}
	return s.InProcessConn()
}

// Close closes all connections and ends the embedded server; no goroutine of
// either is left when it returns without an error. Further calls do nothing.
func (n *NATS) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	s, conns := n.server, n.conns
	n.server, n.conns = nil, map[*nats.Conn]struct{}{}
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
	return fault.New(fault.Environment, CodeUnreachable, n.cfg.URL,
		"check that nats.url is right, that the server runs, and that nats.creds are accepted", "connect: %w", err)
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
	where := "embedded NATS"
	if !n.Embedded() {
		where = n.cfg.URL
	}
	if v := nc.ConnectedServerVersion(); !atLeast(v, 2, 14) {
		return fault.New(fault.Environment, CodeTooOld, where,
			"update nats-server to 2.14 or newer, which has the batches that delivery rests on; cdcd is tested with 2.15.2",
			"the server is version %s", v)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := jetStreamAnswers(ctx, nc); err != nil {
		return fault.New(fault.Environment, CodeNoJetStream, where,
			"turn JetStream on: `jetstream {}` in the server's configuration, and for the account that the credentials name",
			"JetStream does not answer: %w", err)
	}
	return nil
}

func jetStreamAnswers(ctx context.Context, nc *nats.Conn) error {
	m, err := nc.RequestWithContext(ctx, "$JS.API.INFO", nil)
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct{ Description string }
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return errors.New(answer.Error.Description)
	}
	return nil
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
