package replica

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// framed frames a payload, in several packets where it is long.
func framed(seq *byte, payload []byte) (out []byte) {
	for {
		n := min(len(payload), packetMax)
		out = append(out, byte(n), byte(n>>8), byte(n>>16), *seq)
		out = append(out, payload[:n]...)
		*seq++
		if payload = payload[n:]; n < packetMax {
			return out
		}
	}
}

func TestResultPackets(t *testing.T) {
	sizes := []int{1, 5, readBytes - packetHeader, readBytes - packetHeader + 1, 1 << 20, packetMax - 1, packetMax, packetMax + 1, 2*packetMax + 7, 3}
	var wire []byte
	seq := byte(1)
	for i, n := range sizes {
		wire = append(wire, framed(&seq, bytes.Repeat([]byte{byte('a' + i)}, n))...)
	}
	p := packets{r: bufio.NewReaderSize(bytes.NewReader(wire), readBytes), seq: 1, max: 64 << 20}
	for i, n := range sizes {
		v, err := p.result()
		if err != nil || len(v) != n || strings.Trim(string(v), string(rune('a'+i))) != "" {
			t.Fatalf("%d bytes: %d, %v", n, len(v), err)
		}
	}
	if _, err := p.result(); err != io.ErrUnexpectedEOF {
		t.Errorf("the end: %v", err)
	}
	if cap(p.big) > keepBytesMax {
		t.Errorf("%d bytes are kept for small rows", cap(p.big))
	}
}

func TestResultPacketsRefused(t *testing.T) {
	seq := byte(1)
	large := framed(&seq, make([]byte, packetMax+10))
	for _, k := range []struct {
		wire []byte
		max  int
		want func(error) bool
	}{
		{large, packetMax + 9, func(err error) bool { return fault.HasCode(err, "event_too_large") }},
		{large, 1 << 20, func(err error) bool { return fault.HasCode(err, "event_too_large") }},
		{large[:len(large)-1], 1 << 30, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{large[:packetMax+packetHeader], 1 << 30, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{[]byte{1, 0, 0, 2, 9}, 100, func(err error) bool { return strings.Contains(err.Error(), "packet 2 came where 1") }},
		{[]byte{0, 0, 0, 1}, 100, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{[]byte{5, 0, 0, 1, 9}, 100, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
	} {
		p := packets{r: bufio.NewReaderSize(bytes.NewReader(k.wire), readBytes), seq: 1, max: k.max}
		if v, err := p.result(); err == nil || !k.want(err) {
			t.Errorf("%d bytes with a limit of %d: %d bytes, %v", len(k.wire), k.max, len(v), err)
		}
		if cap(p.big) > k.max {
			t.Errorf("%d bytes were taken for a row of at most %d", cap(p.big), k.max)
		}
	}
}

// TestResultPacketsInPieces: however the packets' bytes come, each is read whole,
// and what is behind those that were read is still to be read.
func TestResultPacketsInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const buffer = 512
		sizes := rapid.SliceOfN(rapid.IntRange(1, 2*buffer), 1, 300).Draw(t, "sizes")
		read := rapid.IntRange(0, len(sizes)).Draw(t, "read")
		seq, wire, behind := byte(1), []byte(nil), 0
		for i, n := range sizes {
			wire = append(wire, framed(&seq, bytes.Repeat([]byte{byte(i)}, n))...)
			if i < read {
				behind = len(wire)
			}
		}
		pieces := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		}).Draw(t, "pieces")
		buffered := bufio.NewReaderSize(pieces(bytes.NewReader(wire)), buffer)
		p := packets{r: buffered, seq: 1, max: 1 << 20}
		for i, n := range sizes[:read] {
			if v, err := p.result(); err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, n)) {
				t.Fatalf("packet %d of %d bytes: %x, %v", i, n, v, err)
			}
		}
		if _, err := buffered.Discard(p.skip); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(buffered); err != nil || !bytes.Equal(rest, wire[behind:]) {
			t.Errorf("%d bytes are left of %d, %v", len(rest), len(wire)-behind, err)
		}
	})
}

// A packet with a wrong number is refused also where others were read at once with
// the one before it.
func TestResultPacketsOutOfOrder(t *testing.T) {
	wire := []byte{1, 0, 0, 1, 'a', 1, 0, 0, 2, 'b', 1, 0, 0, 4, 'c', 1, 0, 0, 4, 'd'}
	p := packets{r: bufio.NewReader(bytes.NewReader(wire)), seq: 1, max: 100}
	for _, want := range []string{"a", "b"} {
		if v, err := p.result(); err != nil || string(v) != want {
			t.Fatalf("%q, %v", v, err)
		}
	}
	if v, err := p.result(); err == nil || !strings.Contains(err.Error(), "packet 4 came where 3") {
		t.Errorf("%q, %v", v, err)
	}
}

// FuzzField: any bytes are a column's definition, or none.
func FuzzField(f *testing.F) {
	f.Add([]byte("\x03def\x01d\x01t\x01t\x01n\x01n\x0c\x3f\x00\x0b\x00\x00\x00\x03\x03\x50\x00\x00\x00"))
	f.Add([]byte("\x03def\x01d\x01t\x01t\x01n\xfd\xff\xff\xff\x0c"))
	f.Fuzz(func(t *testing.T, p []byte) {
		field, err := readField(p)
		if err == nil && len(p) < 19 {
			t.Errorf("%x is %+v", p, field)
		}
		v, n, ok := lengthEncoded(p)
		if ok && (n < 1 || n > len(p)) || !ok && v != 0 {
			t.Errorf("%x: %d in %d bytes, %v", p, v, n, ok)
		}
	})
}

func TestField(t *testing.T) {
	got, err := readField([]byte("\x03def\x01d\x01t\x01t\x01n\x01n\x0c\x3f\x00\x0b\x00\x00\x00\x03\x03\x50\x02\x00\x00"))
	if want := (Field{Type: 3, Charset: 63, Length: 11, Flags: 0x5003, Decimals: 2}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
