package runtime

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/deadletters"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// natsOnDemand starts NATS when the first sink asks for it: a daemon whose
// sinks need none has none. A start that fails is tried again by the next ask.
type natsOnDemand struct {
	config *config.Config
	log    *slog.Logger

	mu     sync.Mutex
	server *natsd.NATS
	conns  map[string]*nats.Conn // by pipeline
	stop   context.CancelFunc    // of the server's guard
	ended  chan struct{}         // closed once the guard has ended

	running atomic.Pointer[natsd.NATS] // server, for those who can't wait for mu: it is held while the server starts
}

// conn returns the pipeline's connection, one for its life.
func (n *natsOnDemand) conn(ctx context.Context, pipeline string) (*nats.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		s, err := natsd.Start(ctx, NATSConfig(n.config, n.log))
		if err != nil {
			return nil, err
		}
		n.server, n.conns = s, map[string]*nats.Conn{}
		n.running.Store(s)
		guard, stop := context.WithCancel(context.WithoutCancel(ctx)) // it lives as long as the server, not as the one who asked
		n.stop, n.ended = stop, make(chan struct{})
		go func() { // ends with close
			defer close(n.ended)
			if err := s.Run(guard); err != nil {
				n.log.Error("the embedded NATS server's guard ended", "error", err)
			}
		}()
		n.log.Info("NATS is there", "embedded", s.Embedded(), "url", s.ClientURL())
	}
	if c := n.conns[pipeline]; c != nil && !c.IsClosed() {
		return c, n.server.Trouble(c)
	}
	c, err := n.server.Connect(ctx, pipeline)
	if err == nil {
		n.conns[pipeline] = c
	}
	return c, err
}

// release closes the connection of a pipeline that does not run now; others, and
// the server, stay.
func (n *natsOnDemand) release(pipeline string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[pipeline]; c != nil {
		c.Close()
		delete(n.conns, pipeline)
	}
}

// NATSConfig is what a configuration says of NATS.
func NATSConfig(c *config.Config, log *slog.Logger) natsd.Config {
	x := c.NATS.External
	n := natsd.Config{Dir: c.State.Dir, URL: x.URL.String(), Log: log,
		Login: natsd.Login{Creds: x.Creds, NKey: x.NKey, User: x.User, Password: x.Password, Token: x.Token},
		TLS:   natsd.TLS{CA: x.TLS.CA, Cert: x.TLS.Cert, Key: x.TLS.Key, ServerName: x.TLS.ServerName}}
	e := c.NATS.Embedded
	if e == nil {
		return n
	}
	n.Listen, n.ListenElse, n.Fsync = e.Listen, !e.Chosen, e.Durability == config.DurabilityFsync
	n.StoreBytesMax = e.MaxStore
	n.TLS = natsd.TLS{CA: e.TLS.CA, Cert: e.TLS.Cert, Key: e.TLS.Key}
	n.Access.Token = e.Token
	for _, u := range e.Users {
		n.Access.Users = append(n.Access.Users, natsd.User{Name: u.User, Password: u.Password, Subjects: u.Subjects, Admin: u.Admin})
	}
	for _, p := range c.Pipelines {
		if s, ok := p.Sink.Value.(config.Streamed); ok {
			n.Access.Streams = append(n.Access.Streams, s.StreamName())
		}
		if d, ok := p.Sink.Value.(sink.DeadLettered); ok {
			if s, ok := d.DeadLetterStream(); ok {
				n.Access.Streams = append(n.Access.Streams, s.Name)
				n.Access.Subjects = append(n.Access.Subjects, deadletters.Subjects(p.Name))
			}
		}
		if c, ok := p.Sink.Value.(sink.Claiming); ok && c.ClaimsBucket() != "" {
			n.Access.Streams = append(n.Access.Streams, "OBJ_"+c.ClaimsBucket())
			n.Access.Subjects = append(n.Access.Subjects, "$O."+c.ClaimsBucket()+".>")
		}
		if k, ok := p.Sink.Value.(sink.Keyed); ok {
			n.Access.Subjects = append(n.Access.Subjects, k.KeyPrefix()+">")
		}
		if s, ok := p.Sink.Value.(sink.Templated); ok {
			if t, err := subject.Parse(s.SubjectTemplate()); err == nil { // a pipeline with a bad one doesn't run
				n.Access.Subjects = append(n.Access.Subjects, t.All(p.Name))
			}
		}
	}
	return n
}

// health returns how the embedded server is; nil before it starts, and for an
// external one.
func (n *natsOnDemand) health() *telemetry.NATS {
	s := n.running.Load()
	if s == nil || !s.Embedded() {
		return nil
	}
	h := s.Health()
	return &telemetry.NATS{Reason: h.Reason, Since: h.Since, Restarts: h.Restarts, DiskFreeBytes: h.DiskFreeBytes,
		StoreBytes: h.StoreBytes, StoreBytesMax: h.StoreBytesMax}
}

func (n *natsOnDemand) close(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return nil
	}
	n.stop()
	select {
	case <-n.ended:
	case <-ctx.Done():
	}
	return n.server.Close(ctx)
}
