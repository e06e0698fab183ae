package deadletters

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

// CodeStream is the code of the fault of a stream that dead letters can't go to.
const CodeStream = "dead_letter_stream"

const (
	// ownerKey is the metadata of the stream: the pipeline.
	ownerKey = "cdcd.dead_letters_of"
	// duplicates is for how long the server remembers ids.
	duplicates = 10 * time.Minute
	// timeout bounds each request.
	timeout = 10 * time.Second
	// envelopeBytes is room for subject and headers within max_payload.
	envelopeBytes = 8 << 10
)

// Letter is a dead letter to be published.
type Letter struct {
	ID              string // step/transaction#row
	Step, DB, Table string
	Body            []byte // JSON
	Short           []byte // the same without the row, for a server that takes no such size
}

// Publisher publishes the dead letters of one pipeline. It is used by one
// goroutine, and starts none.
type Publisher struct {
	pipeline string
	want     sink.DeadLetterStream
	connect  func(context.Context) (*nats.Conn, error)
	rights   rights.Watch
	checked  *nats.Conn // on which the stream was found to be as it should
}

// New returns a Publisher. It connects to nothing.
func New(pipeline string, want sink.DeadLetterStream, connect func(context.Context) (*nats.Conn, error)) *Publisher {
	return &Publisher{pipeline: pipeline, want: want, connect: connect}
}

// Subject returns the subject of a dead letter: cdcd_dlq.pipeline.step.db.table,
// each token escaped as in the subjects of messages.
func Subject(pipeline string, l *Letter) string {
	dst := []byte("cdcd_dlq")
	for _, name := range []string{pipeline, l.Step, l.DB, l.Table} {
		dst = subject.AppendToken(append(dst, '.'), name)
	}
	return string(dst)
}

// Publish publishes the letters in order, and returns how many of them the stream
// has, with the error that ended it: CodeStream, or one of class Retryable.
func (p *Publisher) Publish(ctx context.Context, letters []Letter) (published int, err error) {
	nc, err := p.connect(ctx)
	if err != nil {
		return 0, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, p.unavailable(err)
	}
	p.rights.Over(nc)
	if err := p.rights.Reopen(ctx); err != nil {
		return 0, p.unavailable(err)
	}
	if p.checked != nc {
		if err := p.rights.Ask(ctx, []string{"$JS.API."}, func(ctx context.Context) error { return p.ensure(ctx, js) }); err != nil {
			return 0, p.explain(err)
		}
		p.checked = nc
	}
	for i := range letters {
		l := &letters[i]
		body := l.Body
		if int64(len(body))+envelopeBytes > nc.MaxPayload() {
			body = l.Short
		}
		m := &nats.Msg{Subject: Subject(p.pipeline, l), Data: body, Header: nats.Header{
			"Cdc-Kind": {"dead_letter"}, "Cdc-Dead-Letter": {l.ID}}}
		err := p.rights.Ask(ctx, []string{m.Subject}, func(ctx context.Context) error {
			one, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			_, err := js.PublishMsg(one, m, jetstream.WithMsgID(p.pipeline+"/"+l.ID), jetstream.WithExpectStream(p.want.Name))
			return p.unavailable(err)
		})
		if err != nil {
			p.checked = nil // look at the stream again
			return i, p.explain(err)
		}
	}
	return len(letters), nil
}

// Subjects matches the subjects of all dead letters of a pipeline.
func Subjects(pipeline string) string {
	return string(subject.AppendToken([]byte("cdcd_dlq."), pipeline)) + ".>"
}

// ensure makes the stream, or brings the limits of the one that is there to what
// they should be.
func (p *Publisher) ensure(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	subjects := Subjects(p.pipeline)
	want := jetstream.StreamConfig{Name: p.want.Name, Description: "dead letters of pipeline " + p.pipeline + ", written by cdcd",
		Subjects: []string{subjects}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
		MaxAge: p.want.MaxAge, MaxBytes: p.want.MaxBytes, Replicas: p.want.Replicas, Duplicates: min(duplicates, p.want.MaxAge),
		Metadata: map[string]string{ownerKey: p.pipeline}}
	have, err := js.Stream(ctx, p.want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		return p.setup(err)
	}
	if err != nil {
		return p.setup(err)
	}
	c := have.CachedInfo().Config
	if c.Metadata[ownerKey] != p.pipeline {
		return fault.New(fault.Environment, CodeStream, p.want.Name, "delete or rename that stream, or set dead_letters: {stream: false} in the sink",
			"the stream is there, and was not made for the dead letters of pipeline %s", p.pipeline)
	}
	if c.MaxAge == want.MaxAge && c.MaxBytes == want.MaxBytes && c.Replicas == want.Replicas {
		return nil
	}
	c.MaxAge, c.MaxBytes, c.Replicas, c.Duplicates = want.MaxAge, want.MaxBytes, want.Replicas, want.Duplicates
	_, err = js.UpdateStream(ctx, c)
	return p.setup(err)
}

func (p *Publisher) setup(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code != 503 {
		return fault.New(fault.Environment, CodeStream, p.want.Name,
			"look at what JetStream says: limits of the account or the server, or subjects that another stream has; or set dead_letters: {stream: false} in the sink",
			"set up the stream of dead letters: %w", err)
	}
	return p.unavailable(err)
}

// explain makes a refusal a fault; all others are faults.
func (p *Publisher) explain(err error) error {
	if d, ok := errors.AsType[*rights.Denial](err); ok {
		return d.Fault(p.want.Name, Rights(p.pipeline, p.want.Name))
	}
	return err
}

// Rights returns what the NATS user needs to publish a pipeline's dead letters to
// a stream.
func Rights(pipeline, stream string) rights.Needed {
	return rights.Needed{Publish: []string{"$JS.API.STREAM.*." + stream, Subjects(pipeline)}, Subscribe: []string{nats.InboxPrefix + ">"}}
}

func (p *Publisher) unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Retryable, sink.CodeSinkUnreachable, p.want.Name, "check that the NATS server runs and that JetStream has a leader",
		"dead letters are not published: %w", err)
}
