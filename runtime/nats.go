package runtime

import (
	"context"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// natsOnDemand starts NATS when the first sink asks for it: a daemon whose
// sinks need none has none. A start that fails is tried again by the next ask.
type natsOnDemand struct {
	config *config.Config
	log    *slog.Logger

	mu     sync.Mutex
	server *natsd.NATS
	conns  map[string]*nats.Conn // by pipeline
}

// conn returns the pipeline's connection, one for its life.
func (n *natsOnDemand) conn(ctx context.Context, pipeline string) (*nats.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		s, err := natsd.Start(ctx, n.natsConfig())
		if err != nil {
			return nil, err
		}
		n.server, n.conns = s, map[string]*nats.Conn{}
		n.log.Info("NATS is there", "embedded", s.Embedded(), "url", s.ClientURL())
	}
	if c := n.conns[pipeline]; c != nil && !c.IsClosed() {
		return c, nil
	}
	c, err := n.server.Connect(ctx, pipeline)
	if err == nil {
		n.conns[pipeline] = c
	}
	return c, err
}

func (n *natsOnDemand) natsConfig() natsd.Config {
	c := natsd.Config{Dir: n.config.State.Dir, URL: n.config.NATS.URL, Creds: n.config.NATS.Creds, Log: n.log}
	if e := n.config.NATS.Embedded; e != nil {
		c.Listen, c.ListenElse, c.Fsync = e.Listen, !e.Chosen, e.Durability == config.DurabilityFsync
	}
	return c
}

func (n *natsOnDemand) close(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return nil
	}
	return n.server.Close(ctx)
}
