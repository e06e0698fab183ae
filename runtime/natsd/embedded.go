package natsd

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// serverName is what an embedded server calls itself.
const serverName = "cdcd"

const startTimeout = 60 * time.Second // a store of many GiB is checked at start

func (n *NATS) startEmbedded(ctx context.Context) error {
	if err := n.cfg.Access.check(n.cfg.Listen); err != nil {
		return err
	}
	dir := n.storeDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return startFault(dir, "make the directory writable for the user that runs cdcd", err)
	}
	lock, err := lockDir(dir) // nats-server itself lets two servers write one store
	if err != nil {
		return fault.New(fault.Environment, CodeInUse, dir,
			"stop the other cdcd, or give this one its own state.dir", "another process uses the store: %w", err)
	}
	n.lock = lock
	if err := n.run(ctx, dir); err != nil {
		lock.release()
		return err
	}
	return nil
}

// How long a start waits for a chosen address that somebody has: who is on the way
// out, or only looks whether it is free, is gone by then.
const (
	listenWait  = 5 * time.Second
	listenEvery = 50 * time.Millisecond
)

// errListen is a server's that was too late for its address: between probe and
// the server itself another process may take it.
var errListen = errors.New("embedded NATS does not get its address")

// run starts a server, at another address or somewhat later where its own is taken.
func (n *NATS) run(ctx context.Context, dir string) error {
	opts, err := n.serverOptions(dir)
	if err != nil {
		return err
	}
	for end := time.Now().Add(listenWait); ; {
		taken := probe(n.listen)
		if taken == nil {
			err := n.serve(ctx, dir, opts)
			if !errors.Is(err, errListen) {
				return err
			}
			taken = err
		}
		if n.cfg.ListenElse && n.listen == n.cfg.Listen {
			n.cfg.Log.Warn("the default address for NATS clients is taken; listening on a free port",
				"taken", n.cfg.Listen, "by", holder(ctx, n.listen), "hint", "set nats.embedded.listen to choose the address")
			opts.Port = server.RANDOM_PORT
			return n.serve(ctx, dir, opts)
		}
		if mayEnd := errors.Is(taken, errListen) || errors.Is(taken, syscall.EADDRINUSE); !mayEnd || time.Now().After(end) {
			return startFault(n.listen, "stop what listens there, or choose a free address for nats.embedded.listen; where it is a NATS server that this cdcd may use, write nats: {url: \"nats://"+n.listen+"\"}",
				fmt.Errorf("%w; there answers %s", taken, holder(ctx, n.listen)))
		}
		select {
		case <-time.After(listenEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// serve starts a server and waits until it is ready.
func (n *NATS) serve(ctx context.Context, dir string, opts *server.Options) error {
	s, err := server.NewServer(opts)
	if err != nil {
		return startFault(dir, "look at the error; the embedded server refused its options", err)
	}
	l := newLogger(n.cfg.Log)
	s.SetLogger(l, false, false)
	// Start returns once everything runs; it blocks while JetStream reads its store.
	started := make(chan struct{})
	go func() { s.Start(); close(started) }()
	select {
	case <-started:
	case <-ctx.Done():
		return abandon(ctx, s, context.Cause(ctx))
	case <-time.After(startTimeout):
		return abandon(ctx, s, startFault(dir, startHint, errors.New("not ready after a minute")))
	case err = <-l.fatal:
	}
	if len(l.fatal) > 0 { // Start has returned for that
		err = <-l.fatal
	}
	if err == nil && (!s.JetStreamEnabled() || !s.ReadyForConnections(startTimeout)) {
		err = errors.New("the server did not become ready")
		select {
		case err = <-l.fatal:
		default:
		}
	}
	if err != nil {
		return abandon(ctx, s, n.fatal(dir, err))
	}
	n.limitSet = 0 // it has none yet
	if err := n.limit(s); err != nil {
		return abandon(ctx, s, startFault(dir, "check the file system of state.dir", err))
	}
	n.trouble = l.trouble
	n.mu.Lock()
	n.server = s
	if a, ok := s.Addr().(*net.TCPAddr); ok { // a server that starts again is found where it was
		n.listen = net.JoinHostPort(opts.Host, strconv.Itoa(a.Port))
	}
	n.mu.Unlock()
	return nil
}

// fatal is what a line means after which the server would have ended the process.
func (n *NATS) fatal(dir string, err error) error {
	if n.listen != "" && strings.HasPrefix(err.Error(), "Error listening on port") { // AcceptLoop of server.go
		return fmt.Errorf("%w: %w", errListen, err)
	}
	return startFault(dir, startHint, err)
}

// holderPatience is how long a NATS server may take to introduce itself, which on
// a busy machine is more than a second.
const holderPatience = 3 * time.Second

// holder says who answers at an address, for people: a NATS server introduces itself.
func holder(ctx context.Context, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, holderPatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "nobody"
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(deadline) // it is a connection's
	line, _ := bufio.NewReader(io.LimitReader(conn, 64<<10)).ReadString('\n')
	var info server.Info
	text, isNATS := strings.CutPrefix(line, "INFO ")
	if !isNATS || json.Unmarshal([]byte(text), &info) != nil {
		return "a program that is no NATS server"
	}
	if info.Name == serverName {
		return "another cdcd's embedded NATS server"
	}
	return fmt.Sprintf("the NATS server %q, version %s", info.Name, info.Version)
}

const startHint = "look at the embedded server's lines in the log; a store that can't be read may be moved away, and pipelines then start anew"

// closedClientsMax is how many connections that have ended the server remembers
// for its monitoring, at 1.5 KB each. Its own default is 10,000: a daemon whose
// pipelines come and go would grow by 15 MB.
const closedClientsMax = 64

// guestUser is the name of those who need no login.
const guestUser = "guest"

// tlsTimeout and loginTimeout bound a client's handshake, in seconds. The server's
// own for a login are two, which a busy machine takes to run the client at all.
const (
	tlsTimeout   = 5
	loginTimeout = 10
)

// storeUnlimited leaves the limit of the store to the account's, which can be
// lowered while the server runs; the server's own can't.
const storeUnlimited = 1 << 60

func (n *NATS) serverOptions(dir string) (*server.Options, error) {
	o := &server.Options{
		ServerName:             serverName,
		DontListen:             n.listen == "",
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      storeUnlimited,
		JetStreamMaxMemory:     64 << 20, // cdcd makes no streams in memory
		SyncInterval:           SyncInterval,
		SyncAlways:             n.cfg.Fsync,
		JetStreamLimits:        server.JSLimitOpts{MaxBatchSize: BatchMessagesMax},
		MaxPayload:             PayloadBytesMax,
		MaxPending:             64 << 20,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		MaxClosedClients:       closedClientsMax,
		AuthTimeout:            loginTimeout,

		CustomClientAuthentication: n.gate,
	}
	if n.cfg.Access.open() {
		// Told to clients as "no login needed"; the gate looks at everybody anyway.
		o.NoAuthUser, o.Users = guestUser, []*server.User{{Username: guestUser, Password: rand.Text()}}
	}
	var err error
	if o.TLSConfig, err = n.cfg.TLS.server(); err != nil {
		return nil, err
	}
	if o.TLSConfig != nil {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, o.TLSConfig.ClientCAs != nil, tlsTimeout
	}
	if n.listen != "" {
		host, port, err := net.SplitHostPort(n.listen)
		if err != nil {
			return nil, fault.New(fault.Config, "nats_listen", "nats.embedded.listen", "write host:port, such as 127.0.0.1:4222", "%w", err)
		}
		o.Host = host
		if o.Port, err = strconv.Atoi(port); err != nil {
			return nil, fault.New(fault.Config, "nats_listen", "nats.embedded.listen", "write host:port with a number for the port", "%w", err)
		}
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	return o, nil
}

// probe finds out whether the address is free, before a server reads its store for
// nothing. It holds the address for a moment, which may be in another's way.
func probe(listen string) error {
	if listen == "" {
		return nil
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return l.Close()
}

// abandon ends a server that did not start, and returns why.
func abandon(ctx context.Context, s *server.Server, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(why, shutdown(ctx, s))
}

// shutdown ends the server and waits until its goroutines have ended.
func shutdown(ctx context.Context, s *server.Server) error {
	if s == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		s.Shutdown()
		s.WaitForShutdown()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded NATS did not end in time: %w", context.Cause(ctx))
	}
}

func startFault(path, hint string, err error) error {
	return fault.New(fault.Environment, CodeStart, path, hint, "embedded NATS: %w", err)
}
