package stream

import (
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// watch tells the chain when the connection was replaced: what was on its way is
// not answered any more, and waiting for it would take the whole ack timeout.
// Called with mu held.
func (l *streamLog) watch(nc *nats.Conn) {
	if l.watched == nc {
		return
	}
	l.watched = nc
	before := nc.ReconnectHandler() // whoever opened the connection has one, for the log
	nc.SetReconnectHandler(func(nc *nats.Conn) {
		if before != nil {
			before(nc)
		}
		l.reconnected(nc)
	})
}

func (l *streamLog) reconnected(nc *nats.Conn) {
	l.mu.Lock()
	mine := l.nc == nc
	l.mu.Unlock()
	if mine {
		l.notify(chain.Ack{Run: l.run.Load(), Err: chain.ErrSession})
	}
}
