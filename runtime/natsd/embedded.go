package natsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cdcd-io/cdcd/internal/fault"
)

const startTimeout = 60 * time.Second // a store of many GiB is checked at start

func (n *NATS) startEmbedded(ctx context.Context) error {
	dir := filepath.Join(n.cfg.Dir, "nats")
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

func (n *NATS) run(ctx context.Context, dir string) error {
	opts, err := n.options(dir)
	if err != nil {
		return err
	}
	switch err := probe(n.cfg.Listen); {
	case err == nil:
	case n.cfg.ListenElse:
		n.cfg.Log.Warn("the default address for NATS clients is taken, by another cdcd or NATS server; listening on a free port",
			"taken", n.cfg.Listen, "hint", "set nats.embedded.listen to choose the address")
		opts.Port = server.RANDOM_PORT
	default:
		return startFault(n.cfg.Listen, "choose a free address for nats.embedded.listen; where a NATS server runs there that this cdcd may use, write nats: {url: \"nats://"+n.cfg.Listen+"\"}", err)
	}
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
	case err := <-l.fatal:
		return abandon(ctx, s, startFault(dir, startHint, err))
	case <-ctx.Done():
		return abandon(ctx, s, context.Cause(ctx))
	case <-time.After(startTimeout):
		return abandon(ctx, s, startFault(dir, startHint, errors.New("not ready after a minute")))
	}
	if !s.JetStreamEnabled() || !s.ReadyForConnections(startTimeout) {
		err := errors.New("the server did not become ready")
		select {
		case err = <-l.fatal:
		default:
		}
		return abandon(ctx, s, startFault(dir, startHint, err))
	}
	n.mu.Lock()
	n.server, n.logger = s, l
	n.mu.Unlock()
	return nil
}

const startHint = "look at the embedded server's lines in the log; a store that can't be read may be moved away, and pipelines then start anew"

// closedClientsMax is how many connections that have ended the server remembers
// for its monitoring, at 1.5 KB each. Its own default is 10,000: a daemon whose
// pipelines come and go would grow by 15 MB.
const closedClientsMax = 64

func (n *NATS) options(dir string) (*server.Options, error) {
	store, err := storeBytesMax(dir, int64(n.cfg.StoreBytesMax))
	if err != nil {
		return nil, startFault(dir, "check the file system of state.dir", err)
	}
	o := &server.Options{
		ServerName:             "cdcd",
		DontListen:             n.cfg.Listen == "",
		JetStream:              true,
		StoreDir:               dir,
		JetStreamMaxStore:      store,
		JetStreamMaxMemory:     64 << 20, // cdcd makes no streams in memory
		SyncInterval:           SyncInterval,
		SyncAlways:             n.cfg.Fsync,
		MaxPayload:             PayloadBytesMax,
		MaxPending:             64 << 20,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		MaxClosedClients:       closedClientsMax,
	}
	if n.cfg.Listen != "" {
		host, port, err := net.SplitHostPort(n.cfg.Listen)
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

// probe finds out whether the address is free: the server itself would log
// the failure and run on without a listener.
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

// storeBytesMax bounds the store to four fifths of what the disk could give
// it, counting what it has already: a full disk wedges a stream in silence.
func storeBytesMax(dir string, want int64) (int64, error) {
	free, err := diskFree(dir)
	if err != nil {
		return 0, fmt.Errorf("free disk space: %w", err)
	}
	used, err := treeBytes(dir)
	if err != nil {
		return 0, fmt.Errorf("size of the store: %w", err)
	}
	most := max((free+used)/5*4, 64<<20)
	if want <= 0 {
		return most, nil
	}
	return min(want, most), nil
}

func treeBytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum, err
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
