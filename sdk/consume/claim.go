package consume

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Faults of rows that are too large for a message, and lie in an object store.
var (
	// ErrClaimGone means that the object is not there any more: it has expired, or
	// somebody has deleted it.
	ErrClaimGone = errors.New("the object with the row's body is gone")
	// ErrClaimDamaged means that the object is not what the message says it is.
	ErrClaimDamaged = errors.New("the object with the row's body is not the one that was written")
)

const (
	claimBytesMax    = 256 << 20 // more than any row that cdcd reads gives
	claimTimeout     = 10 * time.Second
	claimTries       = 3
	claimPause       = time.Second
	chunksAhead      = 64
	chunksAheadBytes = 8 << 20
)

// Claim is where the body of a message was: in an object store, because it is
// larger than the server takes. The Reader has fetched and verified it.
type Claim struct {
	Bucket, Name string
	Digest       [sha256.Size]byte
	Bytes        int
}

// parseClaim reads the headers of a message; nil for one whose body is its own.
func parseClaim(h nats.Header) (*Claim, error) {
	ref := h.Get("Cdc-Claim")
	if ref == "" {
		return nil, nil
	}
	bucket, name, ok := strings.Cut(ref, "/")
	digest, ok2 := strings.CutPrefix(h.Get("Cdc-Claim-Digest"), "SHA-256=")
	sum, err := base64.URLEncoding.DecodeString(digest)
	n, err2 := strconv.Atoi(h.Get("Cdc-Claim-Bytes"))
	if !ok || !ok2 || bucket == "" || name == "" || err != nil || err2 != nil || len(sum) != sha256.Size || n < 0 || n > claimBytesMax {
		return nil, fmt.Errorf("%w: Cdc-Claim %.200q, Cdc-Claim-Digest %.100q, Cdc-Claim-Bytes %.40q", ErrForeign, ref, h.Get("Cdc-Claim-Digest"), h.Get("Cdc-Claim-Bytes"))
	}
	return &Claim{Bucket: bucket, Name: name, Digest: [sha256.Size]byte(sum), Bytes: n}, nil
}

// claims fetches bodies from object stores.
type claims struct {
	js     jetstream.JetStream
	bucket string // the one that is open
	store  jetstream.ObjectStore
	stream jetstream.Stream
}

func (c *claims) open(ctx context.Context, bucket string) (err error) {
	if c.bucket == bucket {
		return nil
	}
	if c.store, err = c.js.ObjectStore(ctx, bucket); err != nil {
		return err
	}
	if c.stream, err = c.js.Stream(ctx, "OBJ_"+bucket); err != nil {
		return err
	}
	c.bucket = bucket
	return nil
}

// fetch returns a body that is what was written. ErrClaimGone and
// ErrClaimDamaged are for good; another error may pass.
func (c *claims) fetch(ctx context.Context, cl *Claim) ([]byte, error) {
	one, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := c.open(one, cl.Bucket); err != nil {
		return nil, gone(err)
	}
	info, err := c.store.GetInfo(one, cl.Name)
	if err != nil {
		return nil, gone(err)
	}
	if info.Size != uint64(cl.Bytes) {
		return nil, fmt.Errorf("%w: it has %d bytes, not %d", ErrClaimDamaged, info.Size, cl.Bytes)
	}
	consumer, err := c.stream.OrderedConsumer(one, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"$O." + cl.Bucket + ".C." + info.NUID}, DeliverPolicy: jetstream.DeliverAllPolicy, MaxResetAttempts: resetAttempts})
	if err != nil {
		return nil, gone(err)
	}
	body := make([]byte, 0, cl.Bytes)
	if info.Chunks > 0 {
		if body, err = readChunks(ctx, consumer, int(info.Chunks), body); err != nil {
			return nil, err
		}
	}
	if len(body) != cl.Bytes || sha256.Sum256(body) != cl.Digest {
		return nil, fmt.Errorf("%w: its %d bytes have another digest", ErrClaimDamaged, len(body))
	}
	return body, nil
}

func readChunks(ctx context.Context, consumer jetstream.Consumer, chunks int, body []byte) ([]byte, error) {
	one, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	info, err := consumer.Info(one)
	if err != nil {
		return nil, err
	}
	if info.NumPending < uint64(chunks) {
		return nil, fmt.Errorf("%w: %d of its %d chunks are left", ErrClaimGone, info.NumPending, chunks)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(chunksAhead, chunksAheadBytes))
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	for range chunks {
		m, err := nextChunk(ctx, messages)
		if err != nil {
			return nil, err
		}
		if len(body)+len(m.Data()) > cap(body) {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrClaimDamaged, cap(body))
		}
		body = append(body, m.Data()...)
	}
	return body, nil
}

func nextChunk(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

func gone(err error) error {
	if errors.Is(err, jetstream.ErrObjectNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %w", ErrClaimGone, err)
	}
	return err
}

// body returns a message's body, from the object store where it lies there.
func (r *Reader) body(ctx context.Context, m jetstream.Msg, seq uint64) ([]byte, *Claim, error) {
	cl, err := parseClaim(m.Headers())
	if err != nil {
		return nil, nil, fmt.Errorf("stream %s, message %d: %w", r.config.Stream, seq, err)
	}
	if cl == nil {
		return m.Data(), nil, nil
	}
	body, err := r.claims.fetch(ctx, cl)
	for try := 1; try < claimTries && errors.Is(err, ErrClaimGone); try++ { // a copy of the store may lag behind
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(claimPause):
		}
		body, err = r.claims.fetch(ctx, cl)
	}
	switch {
	case err == nil:
		return body, cl, nil
	case errors.Is(err, ErrClaimGone), errors.Is(err, ErrClaimDamaged):
		return nil, nil, fmt.Errorf("stream %s, message %d, object %s/%s: %w", r.config.Stream, seq, cl.Bucket, cl.Name, err)
	}
	return nil, nil, r.lost(ctx, err)
}
