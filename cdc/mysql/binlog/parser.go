package binlog

import (
	"bytes"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Options say what a Parser reads and how much it may hold.
type Options struct {
	Flavor         string // FlavorMySQL or FlavorMariaDB; a FORMAT_DESCRIPTION that says otherwise wins
	VerifyChecksum bool   // compare each event's CRC32
	EventBytesMax  int    // bytes of one event, also when decompressed; 0 takes EventBytesMax
	WindowBytesMax int    // bytes of a compressed transaction's window; 0 takes WindowBytesMax
}

// Defaults of Options.
const (
	EventBytesMax  = 64 << 20
	WindowBytesMax = 32 << 20 // all of MySQL's compression levels up to 20
)

// tablesMax bounds the table maps that a Parser remembers; beyond it the memory
// starts anew, which costs decoding them once more.
const tablesMax = 4096

const checksumSize = 4

// Parser reads the events of one log in order and keeps what later ones need:
// the format description and the table maps. It is used by one goroutine, and
// starts none.
type Parser struct {
	opt    Options
	format FormatDescription
	known  bool // format is there
	tables map[uint64]*tableEntry
	last   tableEntry   // of tables, the one met last
	src    bytes.Reader // that zlib reads
	zlib   zlibReader
	expand []byte // of compressed rows and queries
	zstd   *zstd.Decoder
	inner  []byte // of the event that Payload.Next returned
}

// tableEntry is a table map and the bytes it was made of.
type tableEntry struct {
	id   uint64
	body []byte
	t    *TableMap
}

// zlibReader is what compress/zlib's reader is, reusable.
type zlibReader interface {
	io.Reader
	Reset(r io.Reader, dict []byte) error
}

// NewParser returns a Parser at the beginning of a log.
func NewParser(o Options) *Parser {
	if o.EventBytesMax <= 0 {
		o.EventBytesMax = EventBytesMax
	}
	if o.WindowBytesMax <= 0 {
		o.WindowBytesMax = WindowBytesMax
	}
	return &Parser{opt: o, tables: map[uint64]*tableEntry{}}
}

// Format returns the format description that is in force, and whether one was
// seen.
func (p *Parser) Format() (FormatDescription, bool) { return p.format, p.known }

// Parse splits one raw event, from its header to its checksum, which it
// verifies if asked and strips. A FORMAT_DESCRIPTION takes effect here. Body is
// a view of raw. Faults: binlog_corrupt, binlog_checksum, event_too_large,
// binlog_unsupported.
func (p *Parser) Parse(raw []byte) (ev Event, err error) {
	if err = ev.read(raw); err != nil {
		return ev, err
	}
	switch {
	case uint64(ev.Size) > uint64(p.opt.EventBytesMax):
		return ev, tooLarge(ev.place(), uint64(ev.Size), uint64(p.opt.EventBytesMax))
	case int(ev.Size) != len(raw):
		return ev, corrupt(ev.place(), "the header announces %d bytes, %d are there", ev.Size, len(raw))
	case ev.Type == FormatDescriptionEvent:
		return p.parseFormat(ev.Header, raw)
	}
	ev.Body = raw[HeaderSize:]
	sum := p.known && p.format.Checksum == ChecksumCRC32
	if ev.Type == RotateEvent && !sum {
		// The rotation that opens a connection comes before the format that says
		// whether there are checksums; a matching CRC32 is answer enough.
		sum = len(ev.Body) > checksumSize && checksumOf(raw) == le.Uint32(raw[len(raw)-checksumSize:])
	}
	if sum {
		err = p.stripChecksum(&ev, raw)
	}
	return ev, err
}

// parseFormat takes over a FORMAT_DESCRIPTION.
func (p *Parser) parseFormat(h Header, raw []byte) (Event, error) {
	ev := Event{Header: h, Body: raw[HeaderSize:]}
	f, size, err := parseFormatDescription(h, ev.Body)
	if err != nil {
		return ev, err
	}
	if f.Checksum == ChecksumCRC32 {
		if err := p.stripChecksum(&ev, raw); err != nil {
			return ev, err
		}
	}
	ev.Body = ev.Body[:size]
	p.format, p.known = f, true
	if f.MariaDB {
		p.opt.Flavor = FlavorMariaDB
	}
	clear(p.tables)
	p.last = tableEntry{}
	return ev, nil
}

// stripChecksum takes the CRC32 off the event's body, after comparing it if
// that is asked for.
func (p *Parser) stripChecksum(ev *Event, raw []byte) error {
	if len(ev.Body) < checksumSize {
		return corrupt(ev.place(), "%d bytes are too few for a checksum", len(ev.Body))
	}
	ev.Body = ev.Body[:len(ev.Body)-checksumSize]
	if !p.opt.VerifyChecksum {
		return nil
	}
	want, got := le.Uint32(raw[len(raw)-checksumSize:]), checksumOf(raw)
	if want != got {
		return fault.New(fault.Fatal, CodeChecksum, ev.place(), hintCorrupt,
			"the event's checksum is %#08x, its bytes give %#08x", want, got)
	}
	return nil
}

// checksumOf returns the CRC32 of an event without its last four bytes. The
// server sets the flag "in use" after it has computed the checksum.
func checksumOf(raw []byte) uint32 {
	body := raw[: len(raw)-checksumSize : len(raw)-checksumSize]
	if EventType(raw[4]) != FormatDescriptionEvent || le.Uint16(raw[17:])&FlagInUse == 0 {
		return crc32.ChecksumIEEE(body)
	}
	var head [HeaderSize]byte
	copy(head[:], raw)
	le.PutUint16(head[17:], le.Uint16(head[17:])&^FlagInUse)
	return crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, body[HeaderSize:])
}

// TableMap decodes a TABLE_MAP. While a table's definition in the log stays the
// same, byte for byte, the result is the same pointer, so that a caller can keep
// what it made of it under that pointer; a Parser remembers up to 4,096 of them
// until the next FORMAT_DESCRIPTION. The result holds no view of the event.
func (p *Parser) TableMap(ev Event) (*TableMap, error) {
	id, err := p.tableID(ev)
	if err != nil {
		return nil, err
	}
	if p.last.t == nil || p.last.id != id {
		if e := p.tables[id]; e != nil {
			p.last = *e
		}
	}
	if p.last.t != nil && p.last.id == id && bytes.Equal(p.last.body, ev.Body) {
		return p.last.t, nil
	}
	body := bytes.Clone(ev.Body)
	t, err := p.parseTableMap(ev.Header, body)
	if err != nil {
		return nil, err
	}
	if len(p.tables) >= tablesMax {
		clear(p.tables)
	}
	p.last = tableEntry{id: id, body: body, t: t}
	p.tables[id] = &tableEntry{id: id, body: body, t: t}
	return t, nil
}

// Table returns the last table map with the given id, or nil. A rows event that
// names an id without one is a broken log, except for DummyTableID.
func (p *Parser) Table(id uint64) *TableMap {
	if p.last.t != nil && p.last.id == id {
		return p.last.t
	}
	if e := p.tables[id]; e != nil {
		return e.t
	}
	return nil
}

// TableID reads the id of the table that a rows event is about; its first bytes
// are enough. Fault: binlog_corrupt.
func (p *Parser) TableID(ev Event) (uint64, error) { return p.tableID(ev) }

// tableID reads the id that a TABLE_MAP's or a rows event's body begins with.
func (p *Parser) tableID(ev Event) (uint64, error) {
	if n := p.format.postHeader(ev.Type); n == 6 && len(ev.Body) >= 4 {
		return uint64(le.Uint32(ev.Body)), nil // before MySQL 5.1.4
	}
	if len(ev.Body) < 6 {
		return 0, corrupt(ev.place(), "%d bytes are too few for a table id", len(ev.Body))
	}
	return uint64(le.Uint32(ev.Body)) | uint64(le.Uint16(ev.Body[4:]))<<32, nil
}
