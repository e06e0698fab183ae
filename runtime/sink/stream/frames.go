package stream

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// framesBytes is how much is written to the server at once, unless Flush comes
// first: the server reads up to 64 KiB at once, and copies a message that it reads
// in two pieces.
const framesBytes = 48 << 10

// framesKept bounds the buffer that stays when a large message has gone.
const framesKept = 256 << 10

// piped is what gives a connection of nats.go its end of a pipe to a server in
// this process.
type piped interface {
	// Pipe returns the end in use now. One Write to it is one piece on its way,
	// whoever else writes.
	Pipe() net.Conn
}

// pipeOf returns where frames for a server in this process go, as the
// connection is now; nil for a server elsewhere, or if the pipe carries TLS.
func pipeOf(nc *nats.Conn) io.WriteCloser {
	p, ok := nc.Opts.InProcessServer.(piped)
	if !ok {
		return nil
	}
	if nc.TLSRequired() { // TLSConnectionState looks at the state without its lock
		return nil
	}
	if c := p.Pipe(); c != nil {
		return c
	}
	return nil
}

// frames are messages in the form in which a client sends them, HPUB of the NATS
// client protocol, on their way to a server in this process. What nats.go does
// for each message, a map of headers made into text, a lock, a goroutine to be
// woken, is half of what publishing costs; so the messages of a run go around it,
// between its own.
type frames struct {
	to  io.WriteCloser // nil while messages go through nats.go
	buf []byte
}

// begin makes ready for a run, and forgets what was left of the one before.
func (f *frames) begin(to io.WriteCloser) { f.to, f.buf = to, f.buf[:0] }

// flush writes what is held back.
func (f *frames) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.to.Write(f.buf)
	if f.buf = f.buf[:0]; cap(f.buf) > framesKept {
		f.buf = nil
	}
	if err != nil {
		_ = f.to.Close() // the server may have the beginning of a message; nats.go connects again
		return fmt.Errorf("write to the embedded server: %w", err)
	}
	return nil
}

// line is a header's name and value.
type line struct{ name, value string }

// add holds the message back, or writes it with those before it. own are the
// broker's headers.
func (f *frames) add(m *chain.Outgoing, reply []byte, own ...line) error {
	if !validSubject(m.Subject) {
		return nats.ErrBadSubject
	}
	head := f.headSize(m, own)
	b := append(append(f.buf, "HPUB "...), m.Subject...)
	if len(reply) > 0 {
		b = append(append(b, ' '), reply...)
	}
	b = strconv.AppendInt(append(b, ' '), int64(head), 10)
	b = append(strconv.AppendInt(append(b, ' '), int64(head+len(m.Body)), 10), "\r\nNATS/1.0\r\n"...)
	for _, l := range own {
		b = appendLine(b, l.name, l.value)
	}
	for i, v := range m.Values {
		if v != "" {
			b = appendLine(b, chain.Header(i).String(), v)
		}
	}
	for extra := range bytes.Lines(m.Extra) {
		name, value := cutLine(extra)
		b = appendLine(b, name, value)
	}
	b = append(append(append(b, "\r\n"...), m.Body...), "\r\n"...)
	f.buf = b
	if len(b) < framesBytes {
		return nil
	}
	return f.flush()
}

// stage holds back a message of an atomic batch, as add does.
func (f *frames) stage(m *chain.Outgoing, reply []byte, expect string, in batch) error {
	own := [...]line{{batchHeader, in.id}, {numberHeader, in.number}, {}, {}}
	n := 2
	if m.Number == 1 {
		own[n], n = line{expectHeader, expect}, n+1
	}
	if m.Last {
		own[n], n = line{commitHeader, "1"}, n+1
	}
	return f.add(m, reply, own[:n]...)
}

// end holds back a message without headers and body.
func (f *frames) end(subject string, reply []byte) {
	f.buf = append(append(append(append(f.buf, "PUB "...), subject...), ' '), reply...)
	f.buf = append(f.buf, " 0\r\n\r\n"...)
}

// headSize is how many bytes the headers will have.
func (f *frames) headSize(m *chain.Outgoing, own []line) int {
	size := len("NATS/1.0\r\n\r\n")
	for _, l := range own {
		size += lineSize(l.name, l.value)
	}
	for i, v := range m.Values {
		if v != "" {
			size += lineSize(chain.Header(i).String(), v)
		}
	}
	for extra := range bytes.Lines(m.Extra) {
		size += lineSize(cutLine(extra))
	}
	return size
}

func lineSize(name, value string) int { return len(name) + len(": \r\n") + len(value) }

// appendLine appends a header. What would end its line becomes a space, as in nats.go.
func appendLine(b []byte, name, value string) []byte {
	b = append(append(append(b, name...), ": "...), value...)
	if tail := b[len(b)-len(value):]; bytes.IndexByte(tail, '\n') >= 0 || bytes.IndexByte(tail, '\r') >= 0 {
		for i, c := range tail {
			if c == '\n' || c == '\r' {
				tail[i] = ' '
			}
		}
	}
	return append(b, "\r\n"...)
}

// cutLine cuts a line that a connector asked for; chain has checked its name.
func cutLine(text []byte) (name, value string) {
	name, value, _ = strings.Cut(strings.TrimSpace(view(text)), ":")
	return name, strings.TrimSpace(value)
}

// validSubject reports whether the subject can stand in a frame: nothing in it
// ends it.
func validSubject(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' {
			return false
		}
	}
	return s != ""
}
