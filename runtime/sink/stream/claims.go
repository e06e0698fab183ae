package stream

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
)

const (
	// claimKept is how much longer than its message an object is kept: the message
	// may have to wait for room in the stream.
	claimKept = 24 * time.Hour
	// claimFresh is how old an object may be that is used again by a message which
	// is published again.
	claimFresh = time.Hour
	// Objects are written in chunks, of which a few are on their way.
	chunkBytes = 128 << 10
	chunksSent = 16
	// claimTimeout bounds the time without any progress.
	claimTimeout = 10 * time.Second
)

// claims is the object store that bodies go to which are too large for the
// server. It is used by one goroutine.
//
// An object is complete before the message that refers to it is published: all
// chunks are acknowledged, then its description, then the message goes out. Its
// name is made of the message's place and the body's digest, so that a crash in
// between makes the same object again and not another one.
//
// The form is that of NATS's object stores (ADR-20), which is also what any
// client reads. Writing is done here: nats.go describes an object before it knows
// that the chunks are stored.
type claims struct {
	bucket string
	spec   *Spec
	env    *sink.Env
	nc     *nats.Conn
	js     jetstream.JetStream
	store  jetstream.ObjectStore
	stream jetstream.Stream
}

// BucketName reports whether an object store can be called so.
func BucketName(s string) bool { return regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(s) }

func (c *claims) streamName() string { return "OBJ_" + c.bucket }

// ensure makes the object store, or brings the limits of the one that is there
// to what they should be.
func (c *claims) ensure(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if c.nc != nc {
		c.close()
		js, err := jetstream.New(nc)
		if err != nil {
			return c.fault(err)
		}
		c.nc, c.js = nc, js
	}
	js := c.js
	want := c.wanted()
	st, err := js.Stream(ctx, c.streamName())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = js.CreateStream(ctx, want)
	case err == nil:
		have := st.CachedInfo().Config
		if have.Metadata[ownerKey] != c.env.Pipeline {
			return fault.New(fault.Environment, CodeStreamConfig, c.streamName(), "delete or rename that object store",
				"the object store is there, and was not made for pipeline %s", c.env.Pipeline)
		}
		if have.MaxAge != want.MaxAge || have.Replicas != want.Replicas || have.MaxBytes != want.MaxBytes {
			have.MaxAge, have.Replicas, have.MaxBytes = want.MaxAge, want.Replicas, want.MaxBytes
			_, err = js.UpdateStream(ctx, have)
		}
	}
	if err == nil {
		c.store, err = js.ObjectStore(ctx, c.bucket)
	}
	if err == nil {
		c.stream, err = js.Stream(ctx, c.streamName())
	}
	return c.fault(err)
}

// wanted is how the object store's stream should be: as nats.go makes one, but
// for direct gets. A copy that lags would say of an object that it is not there.
func (c *claims) wanted() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{Name: c.streamName(), Description: "large rows of pipeline " + c.env.Pipeline + ", written by cdcd",
		Subjects: []string{"$O." + c.bucket + ".C.>", "$O." + c.bucket + ".M.>"}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		AllowRollup: true, MaxBytes: c.spec.ClaimsBytesMax, Replicas: c.spec.Settings.Replicas, Metadata: map[string]string{ownerKey: c.env.Pipeline}}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = -1
	}
	if c.spec.Settings.MaxAge > 0 {
		cfg.MaxAge = c.spec.Settings.MaxAge + claimKept
	}
	return cfg
}

// close ends the subscription to acknowledgements.
func (c *claims) close() {
	if c.js != nil {
		c.js.CleanupPublisher()
	}
	c.nc, c.js = nil, nil
}

// put stores a message's body, and makes the message refer to it.
func (c *claims) put(ctx context.Context, m *sink.Message, payloadMax int) error {
	sum := sha256.Sum256(m.Body)
	digest := "SHA-256=" + base64.URLEncoding.EncodeToString(sum[:])
	cl := &sink.Claim{Bucket: c.bucket, Digest: digest, Bytes: len(m.Body),
		Name: string(subject.AppendToken(nil, m.Place.String())) + "-" + base64.RawURLEncoding.EncodeToString(sum[:])}
	had, err := c.info(ctx, cl.Name)
	if err != nil {
		return err
	}
	if had == nil || had.Digest != digest || had.Size != uint64(len(m.Body)) || c.env.Now().Sub(had.ModTime) > claimFresh {
		if err := c.write(ctx, cl, m.Body, min(chunkBytes, payloadMax/2)); err != nil {
			return err
		}
		if had != nil && !had.Deleted { // as nats.go does: chunks that no description speaks of
			if err := c.purge(ctx, had.NUID); err != nil {
				return err
			}
		}
	}
	body, err := json.Marshal(map[string]any{"claim": map[string]any{"bucket": cl.Bucket, "name": cl.Name, "digest": cl.Digest, "bytes": cl.Bytes}})
	if err != nil {
		return err
	}
	m.Claim, m.Body = cl, body
	return nil
}

// info returns the description of an object; nil without one.
func (c *claims) info(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	info, err := c.store.GetInfo(ctx, name)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, c.fault(err)
	}
	return info, nil
}

func (c *claims) purge(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	return c.fault(c.stream.Purge(ctx, jetstream.WithPurgeSubject(c.chunks(id))))
}

func (c *claims) chunks(id string) string { return "$O." + c.bucket + ".C." + id }

// write writes an object: its chunks, and when all are stored its description.
func (c *claims) write(ctx context.Context, cl *sink.Claim, body []byte, chunk int) error {
	info := jetstream.ObjectInfo{ObjectMeta: jetstream.ObjectMeta{Name: cl.Name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(chunk)}},
		Bucket: c.bucket, NUID: rand.Text(), Size: uint64(len(body)), Digest: cl.Digest}
	var sent []jetstream.PubAckFuture
	for rest := body; len(rest) > 0; info.Chunks++ {
		n := min(chunk, len(rest))
		if len(sent) == chunksSent {
			if err := c.stored(ctx, sent[0]); err != nil {
				return err
			}
			sent = append(sent[:0], sent[1:]...)
		}
		f, err := c.js.PublishMsgAsync(&nats.Msg{Subject: c.chunks(info.NUID), Data: rest[:n]}, jetstream.WithExpectStream(c.streamName()))
		if err != nil {
			return c.fault(err)
		}
		sent, rest = append(sent, f), rest[n:]
	}
	for _, f := range sent {
		if err := c.stored(ctx, f); err != nil {
			return err
		}
	}
	text, err := json.Marshal(&info)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	_, err = c.js.PublishMsg(ctx, &nats.Msg{Subject: "$O." + c.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(cl.Name)), Data: text,
		Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}, jetstream.WithExpectStream(c.streamName()))
	return c.fault(err)
}

// stored waits until a chunk is.
func (c *claims) stored(ctx context.Context, f jetstream.PubAckFuture) error {
	timer := time.NewTimer(claimTimeout)
	defer timer.Stop()
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return c.fault(err)
	case <-timer.C:
		return c.fault(errors.New("no acknowledgement in time"))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fault makes what JetStream says about the object store into a fault; nil stays
// nil.
func (c *claims) fault(err error) error {
	if err == nil {
		return nil
	}
	l := &streamLog{stream: c.streamName()}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		explained := l.explain(&apiError{Code: api.Code, ErrCode: int(api.ErrorCode), Description: api.Description})
		if f, ok := errors.AsType[*fault.Fault](explained); ok {
			return f
		}
		if api.Code != 503 && api.ErrorCode != 10025 {
			return fault.New(fault.Environment, CodeStreamConfig, c.streamName(),
				"look at what JetStream says: limits of the account or the server, or subjects that another stream has", "the object store of large rows: %w", err)
		}
	}
	return unavailable(c.streamName(), fmt.Errorf("the object store of large rows: %w", err))
}
