package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/binlogfile"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/format"
	formatjson "github.com/cdcd-io/cdcd/runtime/format/json"
)

// sample is one row before the steps and the message that it became.
type sample struct {
	subject       string
	before, after json.RawMessage // the row's after image
}

// readTimeout bounds the reading back of all messages.
const readTimeout = 30 * time.Second

// fetchWait is how long the server may take to hand out some of them.
const fetchWait = 5 * time.Second

// readBack reads every message of the demo's streams, counts those of rows, and
// returns the first row of customers as it was and as it arrived.
func (v *demoView) readBack(ctx context.Context, d *runtime.Daemon, r *demoResult) (*sample, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	nc, err := d.Connect(ctx)
	if err != nil {
		return nil, err
	}
	var first *sample
	for _, f := range v.flavors {
		n, err := readStream(ctx, nc, f.Stream, "cdc."+f.pipeline()+".*.*", func(m jetstream.Msg) {
			if first == nil && m.Subject() == "cdc."+f.pipeline()+".shop.customers" {
				first = &sample{subject: m.Subject(), after: afterImage(m.Data())}
			}
		})
		if err != nil {
			return nil, err
		}
		r.ReadBack += n
	}
	if first == nil {
		return nil, nil
	}
	first.before, err = v.firstCustomer(ctx)
	return first, err
}

// readStream hands each message on the subjects to f and returns how many there are.
// The stream says before how many come: a fetch that gives nothing may be one that the
// server is slow to answer.
func readStream(ctx context.Context, nc *nats.Conn, stream, subjects string, f func(jetstream.Msg)) (n uint64, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil // the pipeline ended before it wrote anything
	}
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subjects))
	if err != nil {
		return 0, err
	}
	all := uint64(0)
	for _, on := range info.State.Subjects {
		all += on
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subjects}})
	if err != nil {
		return 0, err
	}
	for n < all {
		batch, err := c.Fetch(int(min(1000, all-n)), jetstream.FetchMaxWait(fetchWait))
		if err != nil {
			return n, err
		}
		for m := range batch.Messages() {
			f(m)
			n++
		}
		if err := errors.Join(batch.Error(), ctx.Err()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// afterImage returns the row after its change out of a message.
func afterImage(body []byte) json.RawMessage {
	var m struct{ After json.RawMessage }
	if json.Unmarshal(body, &m) != nil {
		return body
	}
	return m.After
}

var errEnough = errors.New("enough")

// firstCustomer reads the recording itself, without any step.
func (v *demoView) firstCustomer(ctx context.Context) (row json.RawMessage, err error) {
	s, err := binlogfile.New(binlogfile.Config{Files: []string{filepath.Join(v.dir, "mysql", "binlog.000001")}, Tables: []string{"shop.customers"}}, cdc.Env{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	begin, err := s.Initial(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Run(ctx, cdc.Start{Base: begin}, func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		if b.Batch == nil || b.Rows() == 0 {
			return nil
		}
		row = afterImage(formatjson.New().AppendRow(nil, b.Row(0), format.Context{Source: "binlog_files"}))
		return errEnough
	})
	if errors.Is(err, errEnough) || errors.Is(err, io.EOF) {
		err = nil
	}
	return row, err
}
