package replica

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// selectBytes is the read buffer of rows: the fewer reads, the fewer turns of
// reader and server where they share cores.
const selectBytes = 256 << 10

// SelectOptions bound one SELECT.
type SelectOptions struct {
	RowBytesMax int           // of one row, by its announced length
	Quiet       time.Duration // the longest silence of the server
	Limit       func(bytes int) error
	ReadMax     int // of one read of the socket; 0 for no bound
}

// Field is what the server says of one column of a result.
type Field struct {
	Type     byte // of the protocol
	Charset  uint16
	Length   uint32
	Flags    uint16
	Decimals byte
}

// Rows is the result of a SELECT in the binary protocol, read from the socket
// row by row: nothing of it is kept. While it is open the connection takes no
// other command.
type Rows struct {
	c       *Conn
	stmt    *client.Stmt
	packets packets
	fields  []Field
	deprEOF bool
	stop    func() bool
	closed  chan struct{}
	hooks   Hooks
	err     error // what ended the rows; io.EOF in order
	bytes   int64
}

// Select runs a statement that gives rows. ctx bounds all of the reading: when
// it ends, the connection is closed. Close must be called.
func (c *Conn) Select(ctx context.Context, sql string, o SelectOptions) (*Rows, error) {
	r := &Rows{c: c, closed: make(chan struct{}),
		// HasCapability knows what was asked for, this what was agreed on.
		deprEOF: strings.Contains(c.c.CapabilityString(), "CLIENT_DEPRECATE_EOF")}
	r.stop = context.AfterFunc(ctx, func() {
		defer close(r.closed)
		c.sock.Conn.Close()
	})
	if err := r.start(sql, o); err != nil {
		if _, server := errors.AsType[*mysql.MyError](err); !server {
			r.err = err
		} else {
			r.err = io.EOF // the connection is good
		}
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return nil, errors.Join(fmt.Errorf("%w in: %.200s", err, sql), r.Close())
	}
	return r, nil
}

func (r *Rows) start(sql string, o SelectOptions) (err error) {
	c := r.c
	if err := c.sock.SetDeadline(time.Now().Add(o.Quiet)); err != nil {
		return err
	}
	if r.stmt, err = c.c.Prepare(sql); err != nil {
		return err
	}
	if err := c.sock.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// COM_STMT_EXECUTE: statement, no cursor, one iteration, no parameters.
	b := binary.LittleEndian.AppendUint32(append(make([]byte, 4, commandBufSize), mysql.COM_STMT_EXECUTE), r.stmt.ID)
	if err := c.write(append(b, mysql.CURSOR_TYPE_NO_CURSOR, 1, 0, 0, 0)); err != nil {
		return err
	}
	r.hooks = Hooks{Drained: func() error { return nil }, Limit: o.Limit, ReadMax: o.ReadMax}
	c.sock.hooks, c.sock.quiet = &r.hooks, o.Quiet
	if c.rows == nil {
		c.rows = bufio.NewReaderSize(c.c.Conn.Conn, selectBytes)
	}
	r.packets = packets{r: c.rows, seq: 1, max: o.RowBytesMax}
	return r.header()
}

// header reads what comes before the rows.
func (r *Rows) header() error {
	p, err := r.packets.result()
	if err != nil {
		return err
	}
	if p[0] == markerErr {
		return r.c.c.HandleErrorPacket(p)
	}
	n, _, ok := lengthEncoded(p)
	if !ok || n == 0 || n > columnsMax {
		return fmt.Errorf("a result of %d columns", n)
	}
	r.fields = make([]Field, n)
	for i := range r.fields {
		if p, err = r.packets.result(); err != nil {
			return err
		}
		if r.fields[i], err = readField(p); err != nil {
			return err
		}
	}
	if !r.deprEOF {
		if p, err = r.packets.result(); err == nil && p[0] != markerEOF {
			err = fmt.Errorf("%#x came where the columns end", p[0])
		}
	}
	return err
}

// columnsMax is more than either server allows (4,096).
const columnsMax = 1 << 14

// readField reads a column definition: six texts, then what is kept here.
// Source: MySQL's protocol, "Column Definition".
func readField(p []byte) (Field, error) {
	const tail = 12
	bad := fmt.Errorf("a column definition of %d bytes can't be read", len(p))
	for range 6 {
		text, n, ok := lengthEncoded(p)
		if !ok || text > uint64(len(p)-n) {
			return Field{}, bad
		}
		p = p[n+int(text):]
	}
	// MariaDB may have extended metadata here when asked for; it is not.
	if len(p) < 1+tail || p[0] != tail {
		return Field{}, bad
	}
	le, p := binary.LittleEndian, p[1:]
	return Field{Charset: le.Uint16(p), Length: le.Uint32(p[2:]), Type: p[6], Flags: le.Uint16(p[7:]), Decimals: p[9]}, nil
}

// lengthEncoded reads a length-encoded integer of n bytes; false for what is
// none, NULL's mark included.
func lengthEncoded(p []byte) (v uint64, n int, ok bool) {
	if len(p) == 0 {
		return 0, 0, false
	}
	n = 1
	switch p[0] {
	case 0xfb, 0xff:
		return 0, 0, false
	case 0xfc:
		n = 3
	case 0xfd:
		n = 4
	case 0xfe:
		n = 9
	default:
		return uint64(p[0]), 1, true
	}
	if len(p) < n {
		return 0, 0, false
	}
	for i := n - 1; i > 0; i-- {
		v = v<<8 | uint64(p[i])
	}
	return v, n, true
}

// Fields describes the columns.
func (r *Rows) Fields() []Field { return r.fields }

// Bytes returns how many bytes of rows have come.
func (r *Rows) Bytes() int64 { return r.bytes }

// Next returns the next row behind its marker byte: the map of NULLs and the
// values, a view that is good until the next call. At the end it is io.EOF. An
// error of the server is a *mysql.MyError and leaves the connection good; after
// any other the connection is of no more use. Fault: event_too_large.
func (r *Rows) Next() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	p, err := r.packets.result()
	switch {
	case err != nil:
		r.err = err
	case p[0] == markerOK:
		r.bytes += int64(len(p))
		return p[1:], nil
	case p[0] == markerErr:
		r.err = io.EOF
		return nil, r.c.c.HandleErrorPacket(p)
	case p[0] == markerEOF:
		r.err = io.EOF
	default:
		r.err = fmt.Errorf("a row of %d bytes begins with %#x", len(p), p[0])
	}
	return nil, r.err
}

// Close ends the reading. Rows that have not been read are passed over as long
// as they are no more than drainBytesMax; beyond, the connection is closed, as
// after an error, which Good tells.
func (r *Rows) Close() error {
	for from := r.bytes; r.err == nil && r.bytes-from < drainBytesMax; {
		_, _ = r.Next() // kept in r.err
	}
	r.c.sock.hooks = nil
	stopped := r.stop()
	if !stopped {
		<-r.closed
	}
	if !stopped || r.err != io.EOF {
		r.c.bad = true
		_ = r.c.Close() // it is of no more use
		return nil
	}
	if _, err := r.c.rows.Discard(r.packets.skip); err != nil {
		return err
	}
	if r.stmt == nil {
		return nil
	}
	if err := r.c.sock.SetDeadline(time.Now().Add(queryTimeout)); err != nil {
		return err
	}
	if err := r.stmt.Close(); err != nil {
		return err
	}
	return r.c.sock.SetDeadline(time.Time{})
}

// drainBytesMax is how much of a result is worth less than a new connection.
const drainBytesMax = 4 << 20

// Good reports whether the connection can still be used.
func (c *Conn) Good() bool { return !c.bad }

// result returns the next packet of a result: a view, good until the next call.
func (p *packets) result() ([]byte, error) {
	if b := p.rest; len(b) > packetHeader && b[3] == p.seq { // nearly all
		n := packetHeader + int(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16)
		if n > packetHeader && n <= len(b) {
			p.seq++
			p.skip += n
			p.rest = b[n:]
			return b[packetHeader:n:n], nil
		}
	}
	p.rest = nil
	if _, err := p.r.Discard(p.skip); err != nil {
		return nil, err
	}
	p.skip = 0
	n, err := p.header()
	if err != nil {
		return nil, unexpected(err)
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
		if cap(p.big) > keepBytesMax {
			p.big = nil
		}
		if all, err := p.r.Peek(p.r.Buffered()); err == nil {
			p.rest = all[len(b):]
		}
		return b[packetHeader:], nil
	}
	return p.largeRow(n)
}

// largeRow reads a row that does not fit the read buffer. Only its packets'
// lengths are announced, each when the one before it has come.
func (p *packets) largeRow(n int) ([]byte, error) {
	p.big = p.big[:0]
	for {
		at := len(p.big)
		if at+n > p.max {
			return nil, TooLarge(int64(at+n), p.max)
		}
		if _, err := p.r.Discard(packetHeader); err != nil {
			return nil, unexpected(err)
		}
		if cap(p.big) < at+n {
			big := make([]byte, at, at+n)
			copy(big, p.big)
			p.big = big
		}
		p.big = p.big[:at+n]
		if _, err := io.ReadFull(p.r, p.big[at:]); err != nil {
			return nil, unexpected(err)
		}
		if n < packetMax {
			return p.big, nil
		}
		var err error
		if n, err = p.header(); err != nil {
			return nil, unexpected(err)
		}
	}
}
