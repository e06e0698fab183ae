package binlog

import (
	"bytes"
	"compress/zlib"
	"io"
	"unicode/utf8"
)

// Query is a statement: BEGIN, COMMIT, DDL, or DML of a statement-based log.
type Query struct {
	ThreadID  uint32
	ExecTime  uint32 // seconds
	ErrorCode uint16 // of the statement on the server; 0 when it succeeded
	Schema    string // the default database
	SQL       []byte // a view, good until the parser's next event

	// The rest is of the status variables, as far as the server writes them.
	SQLMode         uint64
	ClientCollation uint32 // of SQL; 0 not known
	ServerCharset   string // of collation_server; "" not known
	// Atomic says that MySQL executed DDL in its data dictionary: it has changed
	// something, which the log does not say of IF NOT EXISTS otherwise.
	Atomic bool
	// Databases are those that MySQL says the statement changed, by triggers and
	// foreign keys too; nil when it says nothing, or that they are too many.
	Databases []string
}

// Text returns the statement in UTF-8; false when it is not of its character set.
func (q *Query) Text() (string, bool) {
	text := newCharset(charsetOf(q.ClientCollation))
	if text == nil || text.form == formBytes {
		return string(q.SQL), true
	}
	out, err := text.append(nil, q.SQL)
	return string(out), err == nil && utf8.Valid(out)
}

// The codes of status variables. Sources: Query_event in MySQL's
// statement_events.h, Query_log_event::write of both servers.
const (
	statusFlags         = 0
	statusSQLMode       = 1
	statusCatalog       = 2
	statusAutoIncrement = 3
	statusCharset       = 4
	statusTimeZone      = 5
	statusCatalogNZ     = 6
	statusTimeNames     = 7
	statusCharsetDB     = 8
	statusTableMap      = 9
	statusMasterWritten = 10
	statusInvoker       = 11
	statusUpdatedDBs    = 12
	statusMicroseconds  = 13
	statusExplicitTime  = 16
	statusAtomic        = 17
)

// status reads the variables, in the order in which servers write them, up to
// one that is not known.
func (q *Query) status(c cursor) {
	for len(c.p) > 0 && !c.bad {
		switch c.u8() {
		case statusFlags, statusAutoIncrement, statusMasterWritten:
			c.take(4)
		case statusSQLMode:
			q.SQLMode = c.u64()
		case statusCatalog:
			c.take(int(c.u8()) + 1)
		case statusCharset:
			q.ClientCollation = uint32(c.u16())
			c.take(2)
			q.ServerCharset = charsetOf(uint32(c.u16()))
		case statusTimeZone, statusCatalogNZ:
			c.take(int(c.u8()))
		case statusTimeNames, statusCharsetDB:
			c.take(2)
		case statusTableMap:
			c.take(8)
		case statusInvoker:
			c.take(int(c.u8()))
			c.take(int(c.u8()))
		case statusUpdatedDBs:
			const tooMany = 254
			n := c.u8()
			if n == tooMany {
				continue
			}
			q.Databases = make([]string, 0, n)
			for ; n > 0 && !c.bad; n-- {
				i := bytes.IndexByte(c.p, 0)
				q.Databases = append(q.Databases, string(bytes.TrimSuffix(c.take(i+1), []byte{0})))
				c.bad = c.bad || i < 0
			}
			if c.bad {
				q.Databases = nil
			}
		case statusMicroseconds:
			c.take(3)
		case statusExplicitTime:
			c.take(1)
		case statusAtomic:
			c.take(8)
			q.Atomic = !c.bad
		default:
			return
		}
	}
}

// loadFieldsSize is what EXECUTE_LOAD_QUERY has behind the fields of a QUERY:
// the file's number, where its name is in the statement, and what happens to
// duplicates.
const loadFieldsSize = 4 + 4 + 4 + 1

// Query decodes a QUERY, an EXECUTE_LOAD_QUERY, or MariaDB's QUERY_COMPRESSED.
// Faults: binlog_corrupt, event_too_large.
func (p *Parser) Query(ev Event) (Query, error) {
	c := cursor{p: ev.Body}
	q := Query{ThreadID: c.u32(), ExecTime: c.u32()}
	schema := int(c.u8())
	q.ErrorCode = c.u16()
	status := int(c.u16())
	if ev.Type == ExecuteLoadQueryEvent {
		c.take(loadFieldsSize)
	}
	q.status(cursor{p: c.take(status)})
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
