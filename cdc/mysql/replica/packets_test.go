package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// event makes a raw event of the given size that announces it.
func event(size int) []byte {
	e := bytes.Repeat([]byte{byte(size)}, size)
	binary.LittleEndian.PutUint32(e[9:], uint32(size))
	return e
}

// packet wraps an event as a dump does, in as many packets as it takes.
func packet(seq *byte, event []byte) (out []byte) {
	payload := append([]byte{markerOK}, event...)
	for {
		n := min(len(payload), packetMax)
		out = append(out, byte(n), byte(n>>8), byte(n>>16), *seq)
		out = append(out, payload[:n]...)
		payload = payload[n:]
		*seq++
		if n < packetMax {
			return out
		}
	}
}

func reader(r io.Reader, eventMax int) *packets {
	return &packets{r: bufio.NewReaderSize(r, readBytes), seq: 1, max: eventMax}
}

func TestPackets(t *testing.T) {
	sizes := []int{19, 20, 4000, readBytes - 5, readBytes - 4, readBytes, packetMax - 2, packetMax - 1, packetMax, 2*packetMax - 1, 2 * packetMax, 30}
	seq, wire := byte(1), []byte(nil)
	for _, n := range sizes {
		wire = append(wire, packet(&seq, event(n))...)
	}
	for name, r := range map[string]io.Reader{"whole": bytes.NewReader(wire), "halves": iotest.HalfReader(bytes.NewReader(wire))} {
		p := reader(r, 64<<20)
		for _, n := range sizes {
			got, err := p.next()
			if err != nil {
				t.Fatalf("%s: event of %d: %v", name, n, err)
			}
			if !bytes.Equal(got, event(n)) {
				t.Fatalf("%s: event of %d came with %d bytes", name, n, len(got))
			}
		}
		if _, err := p.next(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
		if cap(p.big) > keepBytesMax {
			t.Errorf("%s: %d bytes are kept", name, cap(p.big))
		}
	}
}

func TestPacketsRefuse(t *testing.T) {
	one := func(e []byte) []byte { seq := byte(1); return packet(&seq, e) }
	lies := event(1 << 20)
	binary.LittleEndian.PutUint32(lies[9:], 1000)
	for name, c := range map[string]struct {
		wire []byte
		code string
		err  error
	}{
		"small but announced too large": {one(func() []byte { e := event(100); binary.LittleEndian.PutUint32(e[9:], 5<<20); return e }()), "event_too_large", nil},
		"too large":                     {one(event(5 << 20))[:1000], "event_too_large", nil}, // by its first bytes alone
		"more than announced":           {one(lies), "", nil},
		"cut":                           {one(event(100))[:50], "", io.ErrUnexpectedEOF},
		"cut when large":                {one(event(3 << 20))[:200000], "", io.ErrUnexpectedEOF},
		"empty packet":                  {[]byte{0, 0, 0, 1}, "", io.ErrUnexpectedEOF},
		"wrong number":                  {[]byte{1, 0, 0, 7, 0}, "", nil},
		"wrong marker":                  {[]byte{2, 0, 0, 1, 9, 9}, "", nil},
		"end":                           {[]byte{1, 0, 0, 1, 0xfe}, "", errServerEnd},
	} {
		p := reader(bytes.NewReader(c.wire), 4<<20)
		_, err := p.next()
		if err == nil || c.code != "" && !fault.HasCode(err, c.code) || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if cap(p.big) > 4<<20 {
			t.Errorf("%s: allocated %d", name, cap(p.big))
		}
	}
	p := reader(bytes.NewReader([]byte{3, 0, 0, 1, 0xff, 0xd4, 0x04}), 100)
	var e errPacket
	if _, err := p.next(); !errors.As(err, &e) || len(e.payload) != 3 {
		t.Errorf("an error of the server: %v", err)
	}
}

// TestPacketsPass: behind an event that was refused the next one is read.
func TestPacketsPass(t *testing.T) {
	for _, size := range []int{5 << 20, packetMax - 2, packetMax - 1, packetMax, 2*packetMax - 1, 3 * packetMax} {
		seq, wire := byte(1), []byte(nil)
		for _, n := range []int{30, size, 40} {
			wire = append(wire, packet(&seq, event(n))...)
		}
		p := reader(iotest.HalfReader(bytes.NewReader(wire)), 4<<20)
		if _, err := p.next(); err != nil {
			t.Fatal(err)
		}
		_, err := p.next()
		var o *Oversize
		if !errors.As(err, &o) || o.Size != int64(size) || !bytes.Equal(o.Head, event(size)[:headBytes]) || !fault.HasCode(err, "event_too_large") {
			t.Fatalf("event of %d: %v", size, err)
		}
		if got, err := p.next(); err != nil || !bytes.Equal(got, event(40)) {
			t.Fatalf("behind an event of %d: %d bytes, %v", size, len(got), err)
		}
		if p.big != nil {
			t.Errorf("event of %d: %d bytes are kept", size, cap(p.big))
		}
	}
}

func TestPacketsAllocateNothing(t *testing.T) {
	seq, wire := byte(1), []byte(nil)
	for range 3000 {
		wire = append(wire, packet(&seq, event(300))...)
	}
	p := reader(bytes.NewReader(wire), 1<<20)
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := p.next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

func FuzzPackets(f *testing.F) {
	seq := byte(1)
	f.Add(packet(&seq, event(40)))
	f.Fuzz(func(t *testing.T, wire []byte) {
		p := reader(bytes.NewReader(wire), 1<<16)
		for {
			raw, err := p.next()
			if err != nil {
				return
			}
			if len(raw) > len(wire) {
				t.Fatal("more bytes than came")
			}
		}
	})
}

func TestParseDSN(t *testing.T) {
	for dsn, want := range map[string]Target{
		"mysql://u:p@h":                      {Addr: "h:3306", User: "u", Password: "p", TLS: TLSPreferred},
		"mysql://u%40x:p%2Fq%3A@[::1]:3307/": {Addr: "[::1]:3307", User: "u@x", Password: "p/q:", TLS: TLSPreferred},
		"mysql://u@h:1?tls=false":            {Addr: "h:1", User: "u", TLS: TLSOff},
		"mariadb://u@h?tls=true&tls_ca=a":    {Addr: "h:3306", User: "u", TLS: TLSVerify, CAFile: "a"},
	} {
		got, err := ParseDSN(dsn)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", dsn, err, d)
		}
	}
}

func TestTargets(t *testing.T) {
	got, err := Targets("mysql://u:p%2C@a,b:3307,[::1]:1?tls=false")
	want := []Target{{Addr: "a:3306"}, {Addr: "b:3307"}, {Addr: "[::1]:1"}}
	for i := range want {
		want[i].User, want[i].Password, want[i].TLS = "u", "p,", TLSOff
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	for _, bad := range []string{"", "mysql://", "mysql://u@", "mysql://u@a,", "mysql://u@a,,b", "mysql://u@a,a:3306", "mysql://u@a:x,b",
		"mysql://u@h1,h2/db", "mysql://u@" + strings.Repeat("h,", 16) + "z", "x://u@a,b", "nothing"} {
		if got, err := Targets(bad); err == nil {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}

func TestParseDSNKeepsSecrets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dsn := rapid.SampledFrom([]string{"mysql", "x", ""}).Draw(t, "scheme") + "://u:hunter2" + rapid.StringMatching(`[%/:@?# a]{0,5}`).Draw(t, "junk") + "@h"
		if _, err := Targets(dsn); err != nil && bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
			t.Fatalf("%s: %v", dsn, err)
		}
		if _, err := ParseDSN(dsn); err != nil && bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
			t.Fatalf("%s: %v", dsn, err)
		}
	})
}

func TestUUID(t *testing.T) {
	a, b := uuid("p", 7), uuid("p", 8)
	if len(a) != 36 || a == b || a != uuid("p", 7) || a == uuid("q", 7) {
		t.Errorf("%s %s", a, b)
	}
}
