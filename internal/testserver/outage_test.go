package testserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// echo is a server that answers each line with the line.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// patience is for what comes at once, on a busy machine.
const patience = time.Minute

// asker sends lines through a proxy and times the answers.
type asker struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, p *testserver.Proxy) *asker {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := &asker{t, conn, bufio.NewReader(conn)}
	if _, err := a.ask("hello", patience); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *asker) ask(line string, within time.Duration) (time.Duration, error) {
	a.t.Helper()
	began := time.Now()
	if _, err := fmt.Fprintln(a.conn, line); err != nil {
		return 0, err
	}
	return time.Since(began), a.hear(line, within)
}

func (a *asker) hear(line string, within time.Duration) error {
	a.t.Helper()
	_ = a.conn.SetReadDeadline(time.Now().Add(within))
	got, err := a.r.ReadString('\n')
	if err == nil && got != line+"\n" {
		a.t.Fatalf("%q came back as %q", line, got)
	}
	return err
}

// Silence in either direction loses nothing that a connection that lasts does
// not get later, and ends with the connection.
func TestProxySilence(t *testing.T) {
	p := testserver.NewProxy(t, echo(t))
	for _, way := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		a := dial(t, p)
		p.Silence(way[0], way[1])
		if _, err := a.ask("anybody there", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("silence %v: %v", way, err)
		}
		p.Mend()
		if err := a.hear("anybody there", patience); err != nil {
			t.Errorf("after silence %v: %v", way, err)
		}
		p.Silence(way[0], way[1])
		if _, err := fmt.Fprintln(a.conn, "lost"); err != nil {
			t.Fatal(err)
		}
		p.Cut()
		if err := a.hear("lost", patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("cut in silence: %v", err)
		}
		p.Mend()
	}
}

func TestProxySlowsDown(t *testing.T) {
	p := testserver.NewProxy(t, echo(t))
	a := dial(t, p)
	took := func() time.Duration {
		began := time.Now()
		if _, err := a.ask(strings.Repeat("x", 3000), patience); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	p.Limit(10_000) // 3,000 bytes there and back, in a pipeline of two
	if d := took(); d < 300*time.Millisecond {
		t.Errorf("3,000 bytes took %v at 10,000 a second", d)
	}
	p.Mend()
	p.Latency(60 * time.Millisecond)
	if d := took(); d < 120*time.Millisecond {
		t.Errorf("an answer took %v, with 60 ms each way", d)
	}
	p.Limit(1)
	p.Latency(2 * patience)
	p.Slice(1, 2*patience)
	p.CutIn(1)
	p.Mend()
	took()
}

func TestProxyResets(t *testing.T) {
	p := testserver.NewProxy(t, echo(t))
	a := dial(t, p)
	p.Reset()
	if err := a.hear("", patience); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reset: %v", err)
	}
	dial(t, p)
}

func TestSmallDisk(t *testing.T) {
	dir := testserver.SmallDisk(t, 1<<20)
	file := filepath.Join(dir, "ballast")
	if err := os.WriteFile(file, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("2 MiB on a disk of 1: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 512<<10), 0o600); err != nil {
		t.Error(err)
	}
}

// clockChild makes the test binary print its clocks, for TestClock.
const clockChild = "CDCD_TEST_CLOCK_CHILD"

func TestClockChild(*testing.T) {
	if os.Getenv(clockChild) == "" {
		return
	}
	began := time.Now()
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return
		}
		now := time.Now()
		fmt.Println(now.UnixMilli(), now.Sub(began).Milliseconds())
	}
}

// The wall clock of a process jumps, and only that: what it measures doesn't.
func TestClock(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestClockChild$")
	cmd.Env = append(os.Environ(), clockChild+"=1")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	began := time.Now()
	clock, err := testserver.StartWithClock(cmd)
	if err != nil {
		testserver.Missing(t, "a clock of a process's own", err)
	}
	defer func() { _ = cmd.Wait() }()
	defer in.Close()
	defer clock.Close()
	answers := bufio.NewReader(out)
	for _, offset := range []time.Duration{0, 24 * time.Hour, -20 * 365 * 24 * time.Hour, time.Second, 0} {
		if err := clock.Jump(offset); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		fmt.Fprintln(in)
		line, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		heard := time.Now()
		var wall, since int64
		if _, err := fmt.Sscan(line, &wall, &since); err != nil {
			t.Fatal(err)
		}
		const within = 10 * time.Millisecond // two readings of one clock
		shown := time.UnixMilli(wall).Add(-offset)
		if shown.Before(asked.Add(-within)) || shown.After(heard.Add(within)) || since < 0 || since > heard.Sub(began).Milliseconds() {
			t.Errorf("offset %v: it is %v where it was asked at %v and answered by %v, and %d ms are measured", offset, shown, asked, heard, since)
		}
	}
}
