package binlog

import (
	"bytes"
	"compress/zlib"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// formatEvent is a FORMAT_DESCRIPTION of MySQL 9.7 with checksums.
func formatEvent(flags uint16) []byte {
	body := make([]byte, 57, 120)
	body[0], body[56] = 4, HeaderSize
	copy(body[2:], "9.7.4")
	lengths := make([]byte, 42)
	for i := range lengths {
		lengths[i] = 8
	}
	raw := rawEvent(FormatDescriptionEvent, append(append(body, lengths...), ChecksumCRC32, 0, 0, 0, 0))
	le.PutUint32(raw[len(raw)-4:], crc32.ChecksumIEEE(raw[:len(raw)-4])) // before the flag, as the server does
	le.PutUint16(raw[17:], flags)
	return raw
}

// summed appends an event's checksum.
func summed(typ EventType, body []byte) []byte {
	raw := rawEvent(typ, append(bytes.Clone(body), 0, 0, 0, 0))
	le.PutUint32(raw[len(raw)-4:], crc32.ChecksumIEEE(raw[:len(raw)-4]))
	return raw
}

func wantCode(t *testing.T, err error, code, hint string) {
	t.Helper()
	if !fault.HasCode(err, code) || !strings.Contains(fault.Of(err).Hint, hint) || fault.Of(err).Path == "" {
		t.Errorf("%v (hint %q), want %s with %q in its hint", err, fault.Of(err).Hint, code, hint)
	}
}

// TestParseFaults gives each way in which an event can be wrong.
func TestParseFaults(t *testing.T) {
	p := NewParser(Options{VerifyChecksum: true, EventBytesMax: 1000})
	if _, err := p.Parse(formatEvent(FlagInUse)); err != nil {
		t.Fatal(err)
	}
	if f, known := p.Format(); !known || !f.InUse || f.MariaDB || f.Checksum != ChecksumCRC32 || f.ServerVersion != "9.7.4" {
		t.Errorf("%+v", f)
	}
	ok := summed(XIDEvent, make([]byte, 8))
	if _, err := p.Parse(ok); err != nil {
		t.Error(err)
	}
	flipped := bytes.Clone(ok)
	flipped[20] ^= 1
	_, err := p.Parse(flipped)
	wantCode(t, err, CodeChecksum, "mysqlbinlog")
	_, err = p.Parse(ok[:len(ok)-1])
	wantCode(t, err, CodeCorrupt, "mysqlbinlog")
	_, err = p.Parse(ok[:10])
	wantCode(t, err, CodeCorrupt, "mysqlbinlog")
	_, err = p.Parse(summed(XIDEvent, make([]byte, 1000)))
	wantCode(t, err, CodeTooLarge, "event_bytes_max")
	old := formatEvent(0)
	old[HeaderSize] = 3
	le.PutUint32(old[len(old)-4:], crc32.ChecksumIEEE(old[:len(old)-4]))
	_, err = p.Parse(old)
	wantCode(t, err, CodeUnsupported, "5.0")
	_, _, err = p.RowsHeader(Event{Header: Header{Type: WriteRowsV0Event}, Body: make([]byte, 20)})
	wantCode(t, err, CodeUnsupported, "5.1")
}

// TestIncident reads the event by which a server says that events are lost.
func TestIncident(t *testing.T) {
	n, err := ParseIncident(Event{Body: append([]byte{1, 0, 11}, "LOST_EVENTS"...)})
	if err != nil || n.Number != 1 || n.Message != "LOST_EVENTS" {
		t.Errorf("%+v, %v", n, err)
	}
	_, err = ParseIncident(Event{Body: []byte{1, 0, 11, 'L'}})
	wantCode(t, err, CodeCorrupt, "")
}

// TestHeartbeatV2 reads a position beyond 4 GiB.
func TestHeartbeatV2(t *testing.T) {
	body := append([]byte{1, 5}, "bin.1"...)
	body = append(body, 2, 9, 0xfe, 1, 0, 0, 0, 7, 0, 0, 0, 0)
	hb, err := ParseHeartbeat(Event{Header: Header{Type: HeartbeatV2Event}, Body: body})
	if err != nil || hb.Name != "bin.1" || hb.Position != 7<<32+1 {
		t.Errorf("%+v, %v", hb, err)
	}
}

// TestUnknownType leaves what to do with an event that has no name to the
// caller, with the flag that says whether it may be skipped.
func TestUnknownType(t *testing.T) {
	raw := rawEvent(100, nil)
	le.PutUint16(raw[17:], FlagIgnorable)
	ev, err := NewParser(Options{}).Parse(raw)
	if err != nil || ev.Type.Known() || ev.Flags&FlagIgnorable == 0 || ev.Type.String() != "EVENT_100" {
		t.Errorf("%+v, %v", ev, err)
	}
	for typ := range 256 {
		if known := EventType(typ).Known(); known != (typ <= 42 || typ >= 160 && typ <= 172) {
			t.Errorf("type %d: known %v", typ, known)
		}
	}
}

func payloadEvent(compressed []byte, kind byte) Event {
	body := append([]byte{2, 1, kind, 1, 9, 0xfe}, le.AppendUint64(nil, uint64(len(compressed)))...)
	if kind == compressionNone {
		body = append([]byte{2, 3, 0xfc, 255, 0, 1, 9, 0xfe}, le.AppendUint64(nil, uint64(len(compressed)))...)
	}
	body = append(body, 3, 9, 0xfe)
	body = append(le.AppendUint64(body, payloadSize), 0)
	return Event{Header: Header{Type: TransactionPayloadEvent}, Body: append(body, compressed...)}
}

const payloadSize = 1 << 30

// TestPayloadBounded reads 1 GiB of events out of 100 KiB within a bound and
// without goroutines, and refuses a window and an event that exceed theirs.
func TestPayloadBounded(t *testing.T) {
	defer goleak.VerifyNone(t)
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	one := rawEvent(QueryEvent, make([]byte, 1<<20-HeaderSize))
	for range payloadSize >> 20 {
		if _, err := w.Write(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ev := payloadEvent(packed.Bytes(), compressionZSTD)
	p := NewParser(Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l, err := p.Payload(ev)
	n := 0
	for err == nil {
		if _, err = l.Next(); err == nil {
			n++
		}
	}
	runtime.ReadMemStats(&after)
	if err != io.EOF || n != payloadSize>>20 {
		t.Errorf("%d events, then %v", n, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes allocated to read %d of %d", got, packed.Len(), payloadSize)
	}
	l, err = NewParser(Options{WindowBytesMax: 64 << 10}).Payload(ev)
	if err == nil {
		_, err = l.Next()
	}
	wantCode(t, err, CodeTooLarge, "binlog_transaction_compression_level_zstd")
	l, err = NewParser(Options{EventBytesMax: 64 << 10}).Payload(ev)
	if err == nil {
		_, err = l.Next()
	}
	wantCode(t, err, CodeTooLarge, "event_bytes_max")
	l, err = NewParser(Options{}).Payload(payloadEvent(packed.Bytes()[:packed.Len()/2], compressionZSTD))
	for err == nil {
		_, err = l.Next()
	}
	wantCode(t, err, CodeCorrupt, "")
	_, err = NewParser(Options{}).Payload(payloadEvent(nil, 7))
	wantCode(t, err, CodeUnsupported, "binlog_transaction_compression=OFF")
}

// TestPayloadPlain reads a payload that is not compressed.
func TestPayloadPlain(t *testing.T) {
	l, err := NewParser(Options{}).Payload(payloadEvent(rawEvent(XIDEvent, make([]byte, 8)), compressionNone))
	if err != nil {
		t.Fatal(err)
	}
	if ev, err := l.Next(); err != nil || ev.Type != XIDEvent || len(ev.Body) != 8 {
		t.Errorf("%+v, %v", ev, err)
	}
	if _, err := l.Next(); err != io.EOF {
		t.Error(err)
	}
}

// TestInflateBounded refuses MariaDB's compressed events beyond the bound, and
// sizes that are not true.
func TestInflateBounded(t *testing.T) {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	frame := func(size int) []byte {
		return append([]byte{0x83, byte(size >> 16), byte(size >> 8), byte(size)}, packed.Bytes()...)
	}
	p := NewParser(Options{EventBytesMax: 2000})
	for range 2 { // the reader is used again
		if out, err := p.inflate(Header{}, frame(1000)); err != nil || len(out) != 1000 {
			t.Errorf("%d, %v", len(out), err)
		}
	}
	_, err := p.inflate(Header{}, frame(999))
	wantCode(t, err, CodeCorrupt, "")
	_, err = p.inflate(Header{}, frame(1001))
	wantCode(t, err, CodeCorrupt, "")
	_, err = p.inflate(Header{}, frame(2001))
	wantCode(t, err, CodeTooLarge, "event_bytes_max")
	_, err = p.inflate(Header{}, []byte{0x13, 1, 2, 3})
	wantCode(t, err, CodeCorrupt, "")
}

// TestFileReader opens what is no complete binlog.
func TestFileReader(t *testing.T) {
	write := func(content ...[]byte) string {
		path := filepath.Join(t.TempDir(), "binlog.000001")
		if err := os.WriteFile(path, bytes.Join(content, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, err := OpenFile(write([]byte("\xfdbin123456")), 0)
	wantCode(t, err, CodeEncrypted, "through the server")
	_, err = OpenFile(write([]byte("\x1f\x8b\x08\x00")), 0)
	wantCode(t, err, CodeCorrupt, "unpack")
	_, err = OpenFile(write([]byte("\xfe")), 0)
	wantCode(t, err, CodeTruncated, "FLUSH BINARY LOGS")
	_, err = OpenFile(filepath.Join(t.TempDir(), "none"), 0)
	wantCode(t, err, "binlog_unreadable", "name")

	format, xid := formatEvent(FlagInUse), summed(XIDEvent, make([]byte, 8))
	f, err := OpenFile(write([]byte(fileMagic), format, xid, xid[:25]), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, want := range []int64{4, 4 + int64(len(format))} {
		raw, at, err := f.Next()
		if err != nil || at != want || int(le.Uint32(raw[9:])) != len(raw) {
			t.Errorf("event %d at %d: %v", i, at, err)
		}
	}
	if !f.InUse() {
		t.Error("the file is in use")
	}
	_, _, err = f.Next()
	wantCode(t, err, CodeTruncated, "FLUSH BINARY LOGS")
	if fault.Of(err).Class != fault.Fatal {
		t.Error(fault.Of(err).Class)
	}

	f, err = NewFileReader(bytes.NewReader(slices.Concat([]byte(fileMagic), format, summed(MariaStartEncryptionEvent, make([]byte, 17)))), "x", 0)
	for err == nil {
		_, _, err = f.Next()
	}
	wantCode(t, err, CodeEncrypted, "through the server")
	f, err = NewFileReader(bytes.NewReader(append([]byte(fileMagic), xid...)), "x", 0)
	if err == nil {
		_, _, err = f.Next()
	}
	wantCode(t, err, CodeCorrupt, "")
	huge := bytes.Clone(format)
	le.PutUint32(huge[9:], 1<<31)
	f, err = NewFileReader(bytes.NewReader(append([]byte(fileMagic), huge...)), "x", 1<<20)
	if err == nil {
		_, _, err = f.Next()
	}
	wantCode(t, err, CodeTooLarge, "event_bytes_max")
}

// TestPoison names the column whose value can't be read, and leaves no value in
// its place.
func TestPoison(t *testing.T) {
	m := &TableMap{ID: 1, DB: "d", Table: "t", names: true, Columns: []ColumnMap{
		{Type: ColLong, Name: "id", SignKnown: true},
		{Type: ColVarchar, Name: "v", Meta: 40, Collation: 45},
		{Type: ColEnum, Name: "e", Meta: 1, Collation: 45, Labels: [][]byte{[]byte("a")}},
		{Type: ColJSON, Name: "j", Meta: 4},
	}}
	s, pl, err := BuildSchema(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.ID = 1
	head := []byte{0, 7, 0, 0, 0}
	for _, c := range []struct{ row, code, path string }{
		{"\x01a\x01\x02\x00\x00\x00\x04\x00", "", ""},
		{"\x01\xff\x01\x02\x00\x00\x00\x04\x00", CodeValue, "d.t.v"},
		{"\x03\xed\xa0\x80\x01\x02\x00\x00\x00\x04\x00", CodeValue, "d.t.v"},
		{"\x01a\x02\x02\x00\x00\x00\x04\x00", CodeValue, "d.t.e"},
		{"\x01a\x01\x02\x00\x00\x00\x04\x07", CodeValue, "d.t.j"},
		{"\x01a\x01\x02\x00\x00\x00\x04", CodeCorrupt, "d.t.j"},
		{"\x09a", CodeCorrupt, "d.t.v"},
	} {
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		h := RowsHeader{Op: sdk.OpInsert, Width: 4, After: []byte{15}}
		_, err := pl.AppendRows(&b, h, append(bytes.Clone(head), c.row...), 0, nil)
		switch f := (*fault.Fault)(nil); {
		case c.code == "" && err != nil:
			t.Errorf("%q: %v", c.row, err)
		case c.code != "" && (!errors.As(err, &f) || f.Code != c.code || f.Path != c.path):
			t.Errorf("%q: %v, want %s at %s", c.row, err, c.code, c.path)
		case f != nil && (f.Code == CodeValue) != (f.Class == fault.Poison):
			t.Errorf("%q: class %v", c.row, f.Class)
		}
	}
	_, _, err = BuildSchema(&TableMap{names: true, Columns: []ColumnMap{{Type: ColVarchar, Name: "v", Collation: 9999}}}, nil)
	wantCode(t, err, CodeCharset, "ALTER TABLE")
}

// TestJSONBounded refuses documents nested too deep, or within themselves.
func TestJSONBounded(t *testing.T) {
	// An array whose two values are the array itself.
	self := []byte{jsonSmallArray, 2, 0, 10, 0, jsonSmallArray, 0, 0, jsonSmallArray, 0, 0}
	if _, err := appendJSON(nil, self); err == nil {
		t.Error("an array within itself was read")
	}
}

// TestColumnZlibBounded refuses a COMPRESSED column's value beyond the bound of
// an event, by the size that it announces.
func TestColumnZlibBounded(t *testing.T) {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m := &TableMap{DB: "d", Table: "t", names: true, Columns: []ColumnMap{{Type: ColBlobCompressed, Name: "v", Meta: 2, Collation: 63}}}
	value := append([]byte{0x82, 3000 >> 8, 3000 & 0xff}, packed.Bytes()...)
	row := append(append([]byte{0}, le.AppendUint16(nil, uint16(len(value)))...), value...)
	_, pl, err := BuildSchema(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	pl.Schema().ID = 1
	for _, most := range []int{3000, 2999} {
		p := NewParser(Options{EventBytesMax: most})
		body := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1}, row...)
		h, data, err := p.RowsHeader(Event{Header: Header{Type: WriteRowsEvent}, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		_, err = pl.AppendRows(&b, h, data, 0, nil)
		if most == 3000 && err != nil {
			t.Error(err)
		} else if most < 3000 {
			wantCode(t, err, CodeTooLarge, "event_bytes_max")
		}
	}
}

// TestMariaVector: MariaDB writes VECTOR as a VARBINARY; the catalog says what it
// is, if it agrees with the log.
func TestMariaVector(t *testing.T) {
	m := &TableMap{DB: "d", Table: "t", names: true, Columns: []ColumnMap{{Type: ColVarchar, Name: "v", Meta: 12, Collation: 63}}}
	for native, want := range map[string]sdk.Column{
		"vector(3)":     {Name: "v", Type: sdk.TypeVector, Native: "vector(3)", Length: 3},
		"vector(4)":     {Name: "v", Type: sdk.TypeBytes, Native: "varbinary(12)"},
		"varbinary(12)": {Name: "v", Type: sdk.TypeBytes, Native: "varbinary(12)"},
	} {
		s, _, err := BuildSchema(m, &CatalogTable{DB: "d", Table: "t", Columns: []CatalogColumn{{Name: "v", Native: native}}})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, s.Columns[0]); d != "" {
			t.Errorf("%s: %s", native, d)
		}
	}
}
