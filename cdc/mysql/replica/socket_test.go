package replica

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns both ends of a TCP connection, one of them an armed socket.
func pair(t *testing.T, h Hooks, quiet time.Duration) (*socket, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	s := newSocket(near)
	s.hooks, s.quiet = &h, quiet
	return s, far
}

func TestDrained(t *testing.T) {
	drained := make(chan struct{}, 100)
	s, far := pair(t, Hooks{Drained: func() error { drained <- struct{}{}; return nil }}, time.Minute)
	buf := make([]byte, 4)
	if _, err := far.Write([]byte("abcdefgh")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, buf); err != nil { // it may have had to wait
		t.Fatal(err)
	}
	for len(drained) > 0 {
		<-drained
	}
	if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "efgh" {
		t.Fatal(err, string(buf))
	}
	if len(drained) != 0 {
		t.Error("called while bytes were there")
	}
	go func() {
		<-drained // nothing is there: told before it blocks
		far.Write([]byte("ijkl"))
	}()
	if _, err := io.ReadFull(s, buf); err != nil || string(buf) != "ijkl" {
		t.Fatal(err, string(buf))
	}
	far.Close()
	if _, err := s.Read(buf); err != io.EOF {
		t.Errorf("closed: %v", err)
	}
}

func TestHooksEndRead(t *testing.T) {
	no := errors.New("no")
	s, _ := pair(t, Hooks{Drained: func() error { return no }}, time.Minute)
	if _, err := s.Read(make([]byte, 1)); err != no {
		t.Errorf("drained: %v", err)
	}
	limited := 0
	s, far := pair(t, Hooks{Drained: func() error { return nil }, ReadMax: 2, Limit: func(n int) error {
		if limited += n; limited > 4 {
			return no
		}
		return nil
	}}, time.Minute)
	if _, err := far.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	got := 0
	for {
		n, err := s.Read(make([]byte, 50))
		if got += n; err != nil {
			if err != no || got != 6 {
				t.Errorf("%d bytes, %v", got, err)
			}
			break
		}
	}
}

func TestQuiet(t *testing.T) {
	s, _ := pair(t, Hooks{Drained: func() error { return nil }}, 10*time.Millisecond)
	if _, err := s.Read(make([]byte, 1)); err == nil || !err.(net.Error).Timeout() {
		t.Errorf("silence: %v", err)
	}
}

// A reader that was away for longer than the server may be silent finds what
// came meanwhile: the silence is counted while it listens only.
func TestQuietIsNotTheReaders(t *testing.T) {
	const quiet = 500 * time.Millisecond
	var far net.Conn
	s, far := pair(t, Hooks{Drained: func() error { // what ends the silence is there when it begins to count
		_, err := far.Write([]byte("a"))
		return err
	}}, quiet)
	buf := make([]byte, 1)
	if _, err := s.Read(buf); err != nil || buf[0] != 'a' { // blocks
		t.Fatal(buf, err)
	}
	if _, err := far.Write([]byte("bc")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * quiet)
	for _, want := range []byte("bc") {
		if _, err := s.Read(buf); err != nil || buf[0] != want {
			t.Fatalf("%q, %v", buf, err)
		}
	}
}
