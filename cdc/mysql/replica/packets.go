package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cdcd-io/cdcd/internal/fault"
)

const (
	packetHeader  = 4
	packetMax     = 1<<24 - 1 // a payload of this length goes on in the next packet
	eventHeader   = 19
	readBytes     = 128 << 10 // of the read buffer; events that fit are not copied
	keepBytesMax  = 1 << 20   // of the buffer for larger events; beyond it the memory is given back
	markerOK      = 0x00
	markerEOF     = 0xfe
	markerErr     = 0xff
	markerPayload = 1 + eventHeader
	headBytes     = eventHeader + 6 // of an event that is refused: a rows event's table is in them
)

// errServerEnd is returned when the server ended the stream in order.
var errServerEnd = errors.New("the server ended the stream")

// packets reads a dump: packets of one marker byte and one event.
type packets struct {
	r    *bufio.Reader
	seq  byte
	max  int // bytes of an event
	skip int // bytes of the last packet still in the buffer
	over int // length of a packet of an event that was refused, still to be passed
	big  []byte
	rest []byte // of result: what the buffer has behind the last packet
}

// errPacket is a packet that reports an error of the server.
type errPacket struct{ payload []byte }

func (errPacket) Error() string { return "the server reports an error" }

// next returns the next raw event: a view, good until the next call.
func (p *packets) next() ([]byte, error) {
	if _, err := p.r.Discard(p.skip); err != nil {
		return nil, err
	}
	p.skip = 0
	if err := p.pass(); err != nil {
		return nil, err
	}
	n, err := p.header()
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("an empty packet: %w", io.ErrUnexpectedEOF)
	}
	if packetHeader+n <= p.r.Size() {
		b, err := p.r.Peek(packetHeader + n)
		if err != nil {
			return nil, unexpected(err)
		}
		p.skip = len(b)
		return p.payload(b[packetHeader:])
	}
	return p.large(n)
}

// header peeks at a packet's header and checks its number.
func (p *packets) header() (length int, err error) {
	h, err := p.r.Peek(packetHeader)
	if err != nil {
		return 0, err
	}
	if h[3] != p.seq {
		return 0, fmt.Errorf("packet %d came where %d was due", h[3], p.seq)
	}
	p.seq++
	return int(h[0]) | int(h[1])<<8 | int(h[2])<<16, nil
}

func (p *packets) payload(b []byte) ([]byte, error) {
	switch {
	case b[0] == markerOK && len(b) >= markerPayload:
		if size := int64(binary.LittleEndian.Uint32(b[10:])); size > int64(p.max) {
			return nil, TooLarge(size, p.max)
		}
		if cap(p.big) > keepBytesMax {
			p.big = nil
		}
		return b[1:], nil
	case b[0] == markerErr:
		return nil, errPacket{b}
	case b[0] == markerEOF:
		return nil, errServerEnd
	}
	return nil, fmt.Errorf("a packet of %d bytes begins with %#x", len(b), b[0])
}

// large reads an event that does not fit the read buffer, after its announced
// size was found acceptable.
func (p *packets) large(n int) ([]byte, error) {
	h, err := p.r.Peek(packetHeader + markerPayload)
	if err != nil {
		return nil, unexpected(err)
	}
	if h[packetHeader] != markerOK {
		return nil, fmt.Errorf("a packet of %d bytes begins with %#x", n, h[packetHeader])
	}
	size := int64(binary.LittleEndian.Uint32(h[packetHeader+10:]))
	if size > int64(p.max) {
		return nil, p.refuse(n, size)
	}
	total := int(size) + 1
	if cap(p.big) < total {
		p.big = make([]byte, total)
	}
	p.big = p.big[:0]
	for {
		if len(p.big)+n > total {
			return nil, fmt.Errorf("an event announced with %d bytes has more", size)
		}
		if _, err := p.r.Discard(packetHeader); err != nil {
			return nil, unexpected(err)
		}
		at := len(p.big)
		p.big = p.big[:at+n]
		if _, err := io.ReadFull(p.r, p.big[at:]); err != nil {
			return nil, unexpected(err)
		}
		if n < packetMax {
			return p.big[1:], nil
		}
		if n, err = p.header(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// Oversize is an event that is larger than allowed. Its fault has the code
// event_too_large. Asking for the next event passes over this one, without
// keeping any of it.
type Oversize struct {
	Head  []byte // its header, and six bytes more
	Size  int64
	fault error
}

// Error prints the fault.
func (o *Oversize) Error() string { return o.fault.Error() }

// Unwrap returns the fault.
func (o *Oversize) Unwrap() error { return o.fault }

// refuse leaves an event, in a packet of n bytes, to be passed over.
func (p *packets) refuse(n int, size int64) error {
	h, err := p.r.Peek(packetHeader + 1 + headBytes)
	if err != nil {
		return unexpected(err)
	}
	p.over = n
	return &Oversize{Head: bytes.Clone(h[packetHeader+1:]), Size: size, fault: TooLarge(size, p.max)}
}

// pass passes over an event that was refused.
func (p *packets) pass() error {
	for n := p.over; n > 0; {
		if _, err := p.r.Discard(packetHeader + n); err != nil {
			return unexpected(err)
		}
		if n < packetMax {
			break
		}
		var err error
		if n, err = p.header(); err != nil {
			return unexpected(err)
		}
		if n == 0 { // the event ended with a full packet
			_, err = p.r.Discard(packetHeader)
			p.over = 0
			return err
		}
	}
	p.over = 0
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// TooLarge is the fault for an event beyond the limit, code event_too_large.
func TooLarge(size int64, limit int) error {
	return fault.New(fault.Fatal, "event_too_large", "",
		"raise event_bytes_max, or keep values of that size out of the followed database",
		"an event of %d bytes exceeds event_bytes_max of %d", size, limit)
}
