package binlog

import (
	"compress/zlib"
	"io"
)

// Query is a statement: BEGIN, COMMIT, DDL, or DML of a statement-based log.
type Query struct {
	ThreadID  uint32
	ExecTime  uint32 // seconds
	ErrorCode uint16 // of the statement on the server; 0 when it succeeded
	Schema    string // the default database
	SQL       []byte // a view, good until the parser's next event
}

// Query decodes a QUERY or MariaDB's QUERY_COMPRESSED. Status variables are
// skipped. Faults: binlog_corrupt, event_too_large.
func (p *Parser) Query(ev Event) (Query, error) {
	c := cursor{p: ev.Body}
	q := Query{ThreadID: c.u32(), ExecTime: c.u32()}
	schema := int(c.u8())
	q.ErrorCode = c.u16()
	c.take(int(c.u16()))
	q.Schema = string(c.take(schema))
	c.u8()
	q.SQL = c.p
	if c.bad {
		return q, corrupt(ev.place(), "a query of %d bytes ends inside its header", len(ev.Body))
	}
	if ev.Type != MariaQueryCompressedEvent {
		return q, nil
	}
	var err error
	q.SQL, err = p.inflate(ev.Header, q.SQL)
	return q, err
}

// inflate decompresses what MariaDB compressed: a byte of flag, algorithm and
// length of the length; the length, big-endian; a zlib stream. The result is
// good until the next call.
func (p *Parser) inflate(h Header, data []byte) ([]byte, error) {
	c := cursor{p: data}
	head := c.u8()
	lenlen := int(head & 7)
	size := 0
	for _, b := range c.take(lenlen) {
		size = size<<8 | int(b)
	}
	if c.bad || head&0x80 == 0 || head&0x70 != 0 || lenlen < 1 || lenlen > 4 {
		return nil, corrupt(h.place(), "a compressed event begins with %#x", head)
	}
	if size > p.opt.EventBytesMax {
		return nil, tooLarge(h.place(), uint64(size), uint64(p.opt.EventBytesMax))
	}
	p.src.Reset(c.p)
	if p.zlib == nil {
		z, err := zlib.NewReader(&p.src)
		if err != nil {
			return nil, corrupt(h.place(), "a compressed event: %w", err)
		}
		p.zlib = z.(zlibReader)
	} else if err := p.zlib.Reset(&p.src, nil); err != nil {
		return nil, corrupt(h.place(), "a compressed event: %w", err)
	}
	out, err := readSized(p.zlib, p.expand, size)
	p.expand = out
	if err != nil {
		return nil, corrupt(h.place(), "a compressed event of %d bytes: %w", size, err)
	}
	return out, nil
}

// readSized reads exactly size bytes and then the end of r. It grows buf as the
// bytes come, so that a false size costs nothing.
func readSized(r io.Reader, buf []byte, size int) ([]byte, error) {
	buf, err := readMore(r, buf[:0], size)
	if err != nil {
		return buf, noEOF(err)
	}
	buf = append(buf, 0)
	return buf[:size], atEnd(r, buf[size:])
}

// atEnd returns nil if nothing follows in r; one is a byte to read into.
func atEnd(r io.Reader, one []byte) error {
	switch n, err := r.Read(one); {
	case n != 0 || err == nil:
		return errLonger
	case err != io.EOF:
		return err
	}
	return nil
}

// noEOF makes of an end that comes too early what it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
