package binlog

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/cdcd-io/cdcd/internal/fault"
)

var errLonger = errors.New("more bytes than announced")

// Compression types of a TRANSACTION_PAYLOAD.
const (
	compressionZSTD = 0
	compressionNone = 255
)

// Payload is the inside of a TRANSACTION_PAYLOAD: the events of a transaction
// between its GTID and its end, XID or COMMIT included. It is read as a stream;
// memory is bounded by EventBytesMax and WindowBytesMax whatever the
// transaction's size. One Payload of a Parser can be open at a time.
type Payload struct {
	p     *Parser
	outer Header
	r     io.Reader
	size  uint64 // bytes left of what the header announces
}

// Payload opens a TRANSACTION_PAYLOAD. Faults: binlog_corrupt,
// binlog_unsupported.
func (p *Parser) Payload(ev Event) (*Payload, error) {
	c := cursor{p: ev.Body}
	var compression, size, full uint64
	sized := false
	for !c.bad {
		field := c.packed()
		if field == 0 {
			break
		}
		f := cursor{p: c.text()}
		switch field {
		case 1:
			size, sized = f.packed(), true
		case 2:
			compression = f.packed()
		case 3:
			full = f.packed()
		}
		c.bad = c.bad || f.bad
	}
	if c.bad || sized && size != uint64(len(c.p)) {
		return nil, corrupt(ev.place(), "a payload of %d bytes, %d announced", len(c.p), size)
	}
	l := &Payload{p: p, outer: ev.Header, size: full}
	switch compression {
	case compressionNone:
		l.r, l.size = bytes.NewReader(c.p), uint64(len(c.p))
	case compressionZSTD:
		if err := p.openZSTD(c.p); err != nil {
			return nil, corrupt(ev.place(), "a compressed payload: %w", err)
		}
		l.r = p.zstd
	default:
		return nil, unsupported(ev.place(), "SET GLOBAL binlog_transaction_compression=OFF on the server",
			"a transaction compressed with algorithm %d", compression)
	}
	return l, nil
}

// openZSTD points the parser's only decoder, made when first needed, at src.
// With a concurrency of one it decodes in the caller's goroutine.
func (p *Parser) openZSTD(src []byte) error {
	if p.zstd != nil {
		return p.zstd.Reset(bytes.NewReader(src))
	}
	d, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(p.opt.WindowBytesMax)))
	p.zstd = d
	return err
}

// Next returns the next event of the transaction, or io.EOF behind the last.
// The event has no checksum and is good until the next call. Its LogPos means
// nothing: the server writes the events before it knows their place.
func (l *Payload) Next() (Event, error) {
	if l.size == 0 {
		l.p.inner = append(l.p.inner[:0], 0)
		if err := atEnd(l.r, l.p.inner); err != nil {
			return Event{}, l.broken(err)
		}
		return Event{}, io.EOF
	}
	p := l.p
	if cap(p.inner) < HeaderSize {
		p.inner = make([]byte, 4096)
	}
	head := p.inner[:HeaderSize]
	if _, err := io.ReadFull(l.r, head); err != nil {
		return Event{}, l.broken(err)
	}
	h, err := ParseHeader(head)
	if err != nil {
		return Event{}, err
	}
	if uint64(h.Size) > uint64(p.opt.EventBytesMax) {
		return Event{}, tooLarge(h.place(), uint64(h.Size), uint64(p.opt.EventBytesMax))
	}
	if uint64(h.Size) > l.size || h.Type == TransactionPayloadEvent || h.Type == FormatDescriptionEvent {
		return Event{}, corrupt(l.outer.place(), "an event %s of %d bytes inside a payload with %d left", h.Type, h.Size, l.size)
	}
	l.size -= uint64(h.Size)
	if p.inner, err = readMore(l.r, head, int(h.Size)); err != nil {
		return Event{}, l.broken(err)
	}
	return Event{Header: h, Body: p.inner[HeaderSize:]}, nil
}

// readMore appends to buf what r holds until it has size bytes, growing buf as
// they come.
func readMore(r io.Reader, buf []byte, size int) ([]byte, error) {
	const step = 1 << 20
	for len(buf) < size {
		have, n := len(buf), min(size-len(buf), step)
		if cap(buf)-have < n {
			buf = append(buf, make([]byte, n)...)
		}
		buf = buf[:have+n]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

func (l *Payload) broken(err error) error {
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fault.New(fault.Fatal, CodeTooLarge, l.outer.place(),
			"SET GLOBAL binlog_transaction_compression_level_zstd to 20 or less on the server",
			"a compressed transaction needs a window beyond %d bytes: %w", l.p.opt.WindowBytesMax, err)
	}
	return corrupt(l.outer.place(), "inside a compressed transaction: %w", noEOF(err))
}
