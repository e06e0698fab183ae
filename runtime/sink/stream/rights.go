package stream

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// apiPrefix is what the subjects of JetStream's API begin with.
const apiPrefix = "$JS.API."

// rights returns what the NATS user needs for all that a pipeline does: making
// the stream and that of dead letters, writing, resuming, reading the history of
// definitions, looking the stream over.
func (s *Spec) rights(pipeline string) rights.Needed {
	n := rights.Needed{Publish: append([]string{apiPrefix + "INFO", apiPrefix + "STREAM.*." + s.Name, apiPrefix + "STREAM.MSG.GET." + s.Name,
		apiPrefix + "CONSUMER.*." + s.Name + ".>", apiPrefix + "CONSUMER.MSG.NEXT." + s.Name + ".>"}, s.Settings.Subjects...),
		Subscribe: []string{nats.InboxPrefix + ">"}}
	if s.DeadLetters != "" {
		n.Publish = append(n.Publish, apiPrefix+"STREAM.*."+s.DeadLetters, string(subject.AppendToken([]byte("cdcd_dlq."), pipeline))+".>")
	}
	if s.Claims != "" {
		n.Publish = append(n.Publish, apiPrefix+"STREAM.*.OBJ_"+s.Claims, apiPrefix+"STREAM.MSG.GET.OBJ_"+s.Claims, "$O."+s.Claims+".>")
	}
	return n
}

// meet makes ready to ask on a connection: what was refused is asked for again,
// as a right may have been granted since.
func (l *streamLog) meet(ctx context.Context, nc *nats.Conn) error {
	l.rights.Over(nc)
	if err := l.rights.Reopen(ctx); err != nil {
		return unavailable(l.stream, err)
	}
	l.refused.Store(nil)
	return nil
}

// ask asks the server for something by publishing to the given subjects, and
// makes a refusal a fault.
func (l *streamLog) ask(ctx context.Context, subjects []string, f func(context.Context) error) error {
	err := l.rights.Ask(ctx, subjects, f)
	if d, ok := errors.AsType[*rights.Denial](err); ok {
		return d.Fault(l.stream, l.need)
	}
	return err
}

// mayPublish looks whether the user may publish to the stream's subjects. What it
// sends is meant for a stream that nobody has, so that none takes it.
func (l *streamLog) mayPublish(ctx context.Context, nc *nats.Conn) (bad []checkup.Result) {
	err := l.ask(ctx, []string{l.control}, func(ctx context.Context) error {
		_, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: l.control, Header: nats.Header{jetstream.ExpectedStreamHeader: {"-"}}})
		if errors.Is(err, nats.ErrNoResponders) {
			return nil // there is no stream yet
		}
		return err
	})
	if err != nil {
		return []checkup.Result{Failed("rights", err)}
	}
	return nil
}

// denied tells the chain that messages don't get into the stream, or answers not
// out of it. Nothing more is begun before the next claim: what is sent again
// would be refused again.
func (l *streamLog) denied(d *rights.Denial) {
	if !d.Subscribe && strings.HasPrefix(d.Subject, apiPrefix) {
		return // somebody asked, and is told
	}
	l.refused.Store(d)
	l.notify(chain.Ack{Run: l.run.Load(), Err: d.Fault(l.stream, l.need)})
}
