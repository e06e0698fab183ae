package binlog

import (
	"encoding/hex"
	"strconv"
)

// GTID opens a transaction of MySQL: GTID, GTID_TAGGED or ANONYMOUS_GTID.
type GTID struct {
	Anonymous      bool // the server runs without GTIDs: SID and GNO mean nothing
	SID            [16]byte
	Tag            string // of GTID_TAGGED; else ""
	GNO            int64
	Flags          uint8 // 1: the transaction may hold statements
	LastCommitted  int64
	SequenceNumber int64
	// Commit times in microseconds since the Unix epoch, on the server that was
	// read and on the one where the transaction ran first; 0 before MySQL 8.0.1.
	ImmediateCommit uint64
	OriginalCommit  uint64
	// TransactionLength is the size in bytes of all of the transaction's events,
	// this one included; 0 where the server doesn't say (before MySQL 8.0.2).
	TransactionLength uint64
	// Server versions such as 90704; 0 where the server doesn't say.
	ImmediateVersion uint32
	OriginalVersion  uint32
}

// AppendText appends "uuid:number" or "uuid:tag:number".
func (g *GTID) AppendText(dst []byte) []byte {
	dst = AppendUUID(dst, g.SID[:])
	dst = append(dst, ':')
	if g.Tag != "" {
		dst = append(append(dst, g.Tag...), ':')
	}
	return strconv.AppendInt(dst, g.GNO, 10)
}

// AppendUUID appends the canonical text of a 16-byte UUID.
func AppendUUID(dst, u []byte) []byte {
	for _, part := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10]} {
		dst = append(hex.AppendEncode(dst, part), '-')
	}
	return hex.AppendEncode(dst, u[10:])
}

// ParseGTID decodes a GTID, ANONYMOUS_GTID or GTID_TAGGED.
func ParseGTID(ev Event) (GTID, error) {
	c := cursor{p: ev.Body}
	g := GTID{Anonymous: ev.Type == AnonymousGTIDEvent}
	if ev.Type == GTIDTaggedEvent {
		g.readTagged(&c)
	} else {
		g.read(&c)
	}
	if c.bad || !g.Anonymous && g.GNO <= 0 {
		return g, corrupt(ev.place(), "a GTID of %d bytes and number %d", len(ev.Body), g.GNO)
	}
	return g, nil
}

// read decodes the fixed layout; servers appended to it from version to version.
func (g *GTID) read(c *cursor) {
	g.Flags = c.u8()
	copy(g.SID[:], c.take(16))
	g.GNO = int64(c.u64())
	if len(c.p) < 17 || c.u8() != 2 { // 2: logical timestamps follow, from 5.7
		return
	}
	g.LastCommitted, g.SequenceNumber = int64(c.u64()), int64(c.u64())
	const more = 1 << 55
	if len(c.p) < 7 {
		return
	}
	g.ImmediateCommit = c.uint(7)
	g.OriginalCommit = g.ImmediateCommit &^ more
	if g.ImmediateCommit&more != 0 {
		g.ImmediateCommit &^= more
		g.OriginalCommit = c.uint(7)
	}
	if len(c.p) == 0 {
		return
	}
	g.TransactionLength = c.packed()
	if len(c.p) < 4 {
		return
	}
	v := c.u32()
	g.ImmediateVersion, g.OriginalVersion = v&^(1<<31), v&^(1<<31)
	if v>>31 != 0 {
		g.OriginalVersion = c.u32()
	}
	g.forgetVersions()
}

// forgetVersions replaces the server's "unknown", 999999, by 0.
func (g *GTID) forgetVersions() {
	for _, v := range []*uint32{&g.ImmediateVersion, &g.OriginalVersion} {
		if *v == 999999 {
			*v = 0
		}
	}
}

// readTagged decodes a message of mysql::serialization, version 1.
func (g *GTID) readTagged(c *cursor) {
	version := c.varlen()
	c.varlen() // the message's size
	last := c.varlen()
	if version != 1 {
		c.bad = true
		return
	}
	original, originalVersion := false, false
	seen := uint64(0)
	for len(c.p) > 0 && !c.bad {
		field := c.varlen()
		seen = max(seen, field)
		switch field {
		case 0:
			g.Flags = byte(c.varlen())
		case 1:
			for i := range g.SID {
				g.SID[i] = byte(c.varlen())
			}
		case 2:
			g.GNO = c.varlenSigned()
		case 3:
			if n := c.varlen(); n <= 32 {
				g.Tag = string(c.take(int(n)))
			} else {
				c.bad = true
			}
		case 4:
			g.LastCommitted = c.varlenSigned()
		case 5:
			g.SequenceNumber = c.varlenSigned()
		case 6:
			g.ImmediateCommit = c.varlen()
		case 7:
			g.OriginalCommit, original = c.varlen(), true
		case 8:
			g.TransactionLength = c.varlen()
		case 9:
			g.ImmediateVersion = uint32(c.varlen())
		case 10:
			g.OriginalVersion, originalVersion = uint32(c.varlen()), true
		default: // a later version's field, which fields before it may be read without
			c.bad = c.bad || field < last
			c.p = nil
		}
	}
	if !original {
		g.OriginalCommit = g.ImmediateCommit
	}
	if !originalVersion {
		g.OriginalVersion = g.ImmediateVersion
	}
	g.forgetVersions()
	c.bad = c.bad || seen < 2
}

// The flags of a MariaGTID.
const (
	MariaStandalone   uint8 = 1   // one event without a COMMIT of its own
	MariaGroupCommit  uint8 = 2   // CommitID is there
	MariaTransaction  uint8 = 4   // only transactional tables
	MariaParallel     uint8 = 8   // may be applied in parallel
	MariaWaited       uint8 = 16  // had to wait for another
	MariaDDL          uint8 = 32  // a statement that defines
	MariaXAPrepared   uint8 = 64  // the first part of a transaction of two phases
	MariaXACompleted  uint8 = 128 // XA COMMIT or XA ROLLBACK
	mariaXIDSizeLimit       = 64
)

// MariaGTID opens a group of events of MariaDB.
type MariaGTID struct {
	Domain, Server uint32 // Server is from the header
	Seq            uint64
	Flags          uint8
	CommitID       uint64 // with MariaGroupCommit
	FormatID       uint32 // of the XA transaction, with MariaXAPrepared or MariaXACompleted
	GTRID, BQUAL   []byte // the same: views
}

// Standalone reports whether the group is one event that commits by itself.
func (g *MariaGTID) Standalone() bool { return g.Flags&MariaStandalone != 0 }

// AppendText appends "domain-server-sequence".
func (g *MariaGTID) AppendText(dst []byte) []byte {
	dst = strconv.AppendUint(dst, uint64(g.Domain), 10)
	dst = strconv.AppendUint(append(dst, '-'), uint64(g.Server), 10)
	return strconv.AppendUint(append(dst, '-'), g.Seq, 10)
}

// ParseMariaGTID decodes a MARIA_GTID.
func ParseMariaGTID(ev Event) (MariaGTID, error) {
	c := cursor{p: ev.Body}
	g := MariaGTID{Server: ev.ServerID, Seq: c.u64(), Domain: c.u32(), Flags: c.u8()}
	if g.Flags&MariaGroupCommit != 0 {
		g.CommitID = c.u64()
	}
	if g.Flags&(MariaXAPrepared|MariaXACompleted) != 0 {
		g.FormatID = c.u32()
		n, m := int(c.u8()), int(c.u8())
		g.GTRID, g.BQUAL = c.take(n), c.take(m)
		c.bad = c.bad || n > mariaXIDSizeLimit || m > mariaXIDSizeLimit
	}
	if c.bad {
		return g, corrupt(ev.place(), "a GTID of %d bytes with flags %#x ends too early", len(ev.Body), g.Flags)
	}
	return g, nil
}

// MariaGTIDList is the state at the beginning of a file, or at the end of what a
// replica asked for.
type MariaGTIDList struct {
	Flags uint8 // the top four bits of the count
	GTIDs []MariaGTID
}

// ParseMariaGTIDList decodes a GTID_LIST.
func ParseMariaGTIDList(ev Event) (MariaGTIDList, error) {
	c := cursor{p: ev.Body}
	v := c.u32()
	n := int(v & 0xfffffff)
	l := MariaGTIDList{Flags: uint8(v >> 28)}
	if c.bad || uint64(n)*16 > uint64(len(c.p)) {
		return l, corrupt(ev.place(), "a list of %d GTIDs in %d bytes", n, len(ev.Body))
	}
	l.GTIDs = make([]MariaGTID, n)
	for i := range l.GTIDs {
		l.GTIDs[i] = MariaGTID{Domain: c.u32(), Server: c.u32(), Seq: c.u64()}
	}
	return l, nil
}
