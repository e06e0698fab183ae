package binlog

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Checksum algorithms of a FORMAT_DESCRIPTION.
const (
	ChecksumNone      uint8 = 0
	ChecksumCRC32     uint8 = 1
	ChecksumUndefined uint8 = 255 // written by a server that knows none
)

// FormatDescription opens every binlog file and every connection.
type FormatDescription struct {
	Version       uint16 // of the format: 4
	ServerVersion string // such as "9.7.4" or "10.11.19-MariaDB-log"
	Created       uint32 // seconds since the Unix epoch; 0 but after a server's start
	Checksum      uint8  // of the events that follow
	InUse         bool   // the file was not closed: in writing, or the server crashed
	MariaDB       bool
	postHeaders   string // post-header lengths by type-1
}

// postHeader returns the length of a type's post-header, 0 when not known.
func (f *FormatDescription) postHeader(t EventType) int {
	if t == 0 || int(t) > len(f.postHeaders) {
		return 0
	}
	return int(f.postHeaders[t-1])
}

// formatFixedSize is the size of a format description before its list of
// post-header lengths.
const formatFixedSize = 2 + 50 + 4 + 1

// parseFormatDescription returns the description and the size of its body
// without checksum.
func parseFormatDescription(h Header, body []byte) (f FormatDescription, size int, err error) {
	c := cursor{p: body}
	f.Version = c.u16()
	version, _, _ := bytes.Cut(c.take(50), []byte{0})
	f.ServerVersion = string(version)
	f.Created = c.u32()
	f.InUse = h.Flags&FlagInUse != 0
	if n := c.u8(); !c.bad && (n != HeaderSize || f.Version != 4) {
		return f, 0, unsupported(h.place(), "read logs of MySQL 5.0 and later, or MariaDB",
			"binlog format version %d with headers of %d bytes", f.Version, n)
	}
	f.MariaDB = strings.Contains(f.ServerVersion, "MariaDB")
	f.Checksum = ChecksumUndefined
	if f.checksumAware() {
		if len(c.p) < 1+checksumSize {
			return f, 0, corrupt(h.place(), "a format description of %d bytes is too short", len(body))
		}
		f.Checksum = c.p[len(c.p)-checksumSize-1]
		c.p = c.p[:len(c.p)-checksumSize]
	}
	if c.bad {
		return f, 0, corrupt(h.place(), "a format description of %d bytes is too short", len(body))
	}
	if f.Checksum != ChecksumNone && f.Checksum != ChecksumCRC32 && f.Checksum != ChecksumUndefined {
		return f, 0, unsupported(h.place(), "SET GLOBAL binlog_checksum=CRC32 on the server", "checksum algorithm %d", f.Checksum)
	}
	f.postHeaders = string(c.p)
	if f.checksumAware() {
		f.postHeaders = f.postHeaders[:len(f.postHeaders)-1] // the last byte is the algorithm
	}
	return f, formatFixedSize + len(c.p), nil
}

// checksumAware reports whether the server writes a checksum algorithm: MySQL
// from 5.6.1, MariaDB from 5.3.0.
func (f *FormatDescription) checksumAware() bool {
	since := [3]int{5, 6, 1}
	if f.MariaDB {
		since = [3]int{5, 3, 0}
	}
	v := f.version()
	for i := range v {
		if v[i] != since[i] {
			return v[i] > since[i]
		}
	}
	return true
}

// version returns the three numbers of the server's version.
func (f *FormatDescription) version() (v [3]int) {
	text := f.ServerVersion
	if f.MariaDB {
		text = strings.TrimPrefix(text, "5.5.5-") // how MariaDB 10 introduces itself to replicas of MySQL 5.5
	}
	for i := range v {
		end := 0
		for end < len(text) && text[end] >= '0' && text[end] <= '9' {
			end++
		}
		v[i], _ = strconv.Atoi(text[:end]) // no digits count as 0
		text = strings.TrimPrefix(text[end:], ".")
	}
	return v
}

// Rotate says where the log goes on.
type Rotate struct {
	Position uint64
	Name     string
}

// ParseRotate decodes a ROTATE.
func ParseRotate(ev Event) (Rotate, error) {
	c := cursor{p: ev.Body}
	r := Rotate{Position: c.u64(), Name: string(c.p)}
	const nameMax = 512 // FN_REFLEN of both servers
	if c.bad || r.Name == "" || len(r.Name) > nameMax || !utf8.ValidString(r.Name) {
		return r, corrupt(ev.place(), "a rotation of %d bytes names no file", len(ev.Body))
	}
	return r, nil
}

// ParseXID decodes an XID: the number under which the transaction committed.
func ParseXID(ev Event) (uint64, error) {
	c := cursor{p: ev.Body}
	if v := c.u64(); !c.bad {
		return v, nil
	}
	return 0, corrupt(ev.place(), "%d bytes are too few for a transaction's number", len(ev.Body))
}

// Heartbeat says how far the server has read its log when it has nothing to
// send.
type Heartbeat struct {
	Name     string
	Position uint64 // from HEARTBEAT_V2; else the header's LogPos, which wraps at 4 GiB
}

// ParseHeartbeat decodes a HEARTBEAT or HEARTBEAT_V2.
func ParseHeartbeat(ev Event) (Heartbeat, error) {
	if ev.Type == HeartbeatEvent {
		return Heartbeat{Name: string(ev.Body), Position: uint64(ev.LogPos)}, nil
	}
	hb := Heartbeat{}
	c := cursor{p: ev.Body}
	for len(c.p) > 0 && !c.bad { // fields of type, length, value; type 0 ends them
		typ := c.packed()
		if typ == 0 {
			break
		}
		switch v := c.text(); typ {
		case 1:
			hb.Name = string(v)
		case 2:
			f := cursor{p: v}
			hb.Position = f.packed()
			c.bad = c.bad || f.bad
		}
	}
	if c.bad {
		return hb, corrupt(ev.place(), "a heartbeat of %d bytes ends inside a field", len(ev.Body))
	}
	return hb, nil
}

// Incident is the server's note that its log is missing something.
type Incident struct {
	Number  uint16 // 1: events were lost
	Message string
}

// ParseIncident decodes an INCIDENT.
func ParseIncident(ev Event) (Incident, error) {
	c := cursor{p: ev.Body}
	n := Incident{Number: c.u16()}
	if len(c.p) > 0 {
		n.Message = string(c.take(int(c.u8())))
	}
	if c.bad {
		return n, corrupt(ev.place(), "an incident of %d bytes ends inside its message", len(ev.Body))
	}
	return n, nil
}

// XAPrepare ends the first part of a transaction of two phases; its rows came
// before, and what becomes of them is decided by an XA COMMIT or XA ROLLBACK
// query with the same id.
type XAPrepare struct {
	OnePhase bool // XA COMMIT ... ONE PHASE: committed here and now
	FormatID uint32
	GTRID    []byte // a view
	BQUAL    []byte // a view
}

// ParseXAPrepare decodes an XA_PREPARE.
func ParseXAPrepare(ev Event) (XAPrepare, error) {
	c := cursor{p: ev.Body}
	x := XAPrepare{OnePhase: c.u8() != 0, FormatID: c.u32()}
	g, q := int(c.u32()), int(c.u32())
	x.GTRID, x.BQUAL = c.take(g), c.take(q)
	if c.bad || g > 64 || q > 64 {
		return x, corrupt(ev.place(), "a prepared transaction's id of %d and %d bytes", g, q)
	}
	return x, nil
}
