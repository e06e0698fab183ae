package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// drain takes what is written, until it fails.
type drain struct {
	bytes.Buffer
	failure error
	writes  int
	closed  bool
}

func (d *drain) Write(b []byte) (int, error) {
	if d.writes++; d.failure != nil {
		return len(b) / 2, d.failure
	}
	return d.Buffer.Write(b)
}

func (d *drain) Close() error { d.closed = true; return nil }

// frame is a message as the server reads it.
type frame struct {
	subject, reply string
	head           nats.Header
	body           string
}

// read takes a frame off the front of what was written.
func (d *drain) read(t rapid.TB) frame {
	t.Helper()
	first, err := d.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(first)
	if args[0] != "HPUB" || len(args) < 4 {
		t.Fatalf("got %q", first)
	}
	var head, total int
	if _, err := fmt.Sscan(strings.Join(args[len(args)-2:], " "), &head, &total); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, total+2)
	if _, err := io.ReadFull(d, rest); err != nil || string(rest[total:]) != "\r\n" {
		t.Fatalf("%q behind %q: %v", rest, first, err)
	}
	f := frame{subject: args[1], body: string(rest[head:total])}
	if len(args) == 5 {
		f.reply = args[2]
	}
	if f.head, err = nats.DecodeHeadersMsg(rest[:head]); err != nil {
		t.Fatalf("%v: %q", err, rest[:head])
	}
	return f
}

// What goes around nats.go is what nats.go would have sent: the same headers,
// with what can't stand in a line made harmless.
func TestFramesAreAsNatsGoSendsThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &chain.Outgoing{Subject: "cdc.shop.orders", Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
			Number: rapid.Uint64Range(1, 3).Draw(t, "number"), Last: rapid.Bool().Draw(t, "last"), Shared: rapid.Bool().Draw(t, "shared")}
		for i := range m.Values {
			m.Values[i] = rapid.StringMatching(`([!-~é][ -~é\r\n]{0,20}[!-~é])?`).Draw(t, "value")
		}
		if rapid.Bool().Draw(t, "with extra") {
			m.Extra = []byte("One: a b\nTwo:c\nOne: : d\r\n")
		}
		var in *batch
		if rapid.Bool().Draw(t, "atomic") {
			in, m.Shared = &batch{"w-1", "2"}, false
		}
		d := &drain{}
		f := frames{}
		f.begin(d)
		var err error
		switch {
		case in != nil:
			err = f.stage(m, []byte("r"), "41", *in)
		case m.Shared:
			err = f.add(m, []byte("r"))
		default:
			err = f.add(m, []byte("r"), line{expectHeader, "41"})
		}
		if err = errors.Join(err, f.flush()); err != nil {
			t.Fatal(err)
		}
		want := nats.Header{}
		for name, values := range new(Heads).of(m, "41", in) {
			for _, v := range values {
				want[name] = append(want[name], strings.NewReplacer("\r", " ", "\n", " ").Replace(v))
			}
		}
		got := d.read(t)
		if diff := cmp.Diff(want, got.head); diff != "" || got.body != string(m.Body) || got.subject != m.Subject || got.reply != "r" || d.Len() > 0 {
			t.Fatalf("%s%+v, %q left", diff, got, d.String())
		}
	})
}

func TestFramesAreHeldBack(t *testing.T) {
	d := &drain{}
	var f frames
	f.begin(d)
	m := &chain.Outgoing{Subject: "a.b", Body: bytes.Repeat([]byte("x"), 1000)}
	add := func() {
		t.Helper()
		if err := f.add(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	add()
	if d.writes != 0 {
		t.Fatal("a message was not held back")
	}
	f.begin(d) // another run: what the broken one left is not sent
	if err := f.flush(); err != nil || d.writes != 0 {
		t.Fatalf("%d writes, %v", d.writes, err)
	}
	for range 100 {
		add()
	}
	if d.writes < 100_000/framesBytes || len(f.buf) >= framesBytes {
		t.Fatalf("%d writes, %d bytes held back", d.writes, len(f.buf))
	}
	for _, subject := range []string{"", "a b", "a\r\nPUB c 0\r\n"} {
		if err := f.add(&chain.Outgoing{Subject: subject}, nil); !errors.Is(err, nats.ErrBadSubject) {
			t.Errorf("subject %q: %v", subject, err)
		}
	}
	if err := f.add(&chain.Outgoing{Subject: "a.b", Body: make([]byte, 2*framesKept)}, nil); err != nil || cap(f.buf) > framesKept {
		t.Fatalf("%v, and a buffer of %d bytes stays", err, cap(f.buf))
	}
	add()
	d.failure = io.ErrClosedPipe
	if err := f.flush(); !errors.Is(err, io.ErrClosedPipe) || !d.closed {
		t.Fatalf("%v, closed %v: half a message must not be followed by others", err, d.closed)
	}
}

func TestFramesAllocateNothing(t *testing.T) {
	d := &drain{}
	var f frames
	f.begin(d)
	m := &chain.Outgoing{Subject: "cdc.shop.orders", Body: bytes.Repeat([]byte("x"), 400), Number: 1}
	m.Values[chain.HeaderPos], m.Values[chain.HeaderSeq] = "t#1.0/1#0", "7"
	reply := []byte("_INBOX.a.b-1.128.fail.1.0.$FI")
	d.Grow(32 << 20)
	if n := testing.AllocsPerRun(1000, func() {
		if err := errors.Join(f.add(m, reply, line{expectHeader, "41"}), f.stage(m, reply, "41", batch{"b", "1"})); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
