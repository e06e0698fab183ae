package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// process is cdcd as a process of its own, with its admin server.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	api   string
	ended chan error
}

// begin runs a configuration; server: is added to it. What it prints is shown
// when the test fails.
func begin(t *testing.T, config string, args ...string) *process {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		skip.For(t, "/proc, where memory and sockets are looked at")
	}
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	config += fmt.Sprintf("server: {listen: %q}\n", addr)
	if err := os.WriteFile(filepath.Join(dir, "cdcd.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: program(t, dir, append([]string{"run", "cdcd.yaml"}, args...)...), api: "http://" + addr, ended: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = output, output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // gone already, mostly
		<-p.ended
		_ = output.Close()
		if text, err := os.ReadFile(output.Name()); err == nil && t.Failed() {
			t.Logf("end of the output:\n%s", text[max(0, len(text)-8000):])
		}
	})
	return p
}

// stop is SIGTERM; it returns how long the end took.
func (p *process) stop() time.Duration {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	err := <-p.ended
	p.ended <- err
	return time.Since(began)
}

// running reports whether it has not ended yet.
func (p *process) running() bool {
	select {
	case err := <-p.ended:
		p.ended <- err
		return false
	default:
		return true
	}
}

// status returns what a pipeline says of itself; false while nobody answers.
func (p *process) status(pipeline string) (s telemetry.Status, ok bool) {
	answer, err := http.Get(p.api + "/v1/pipelines/" + pipeline)
	if err != nil {
		return s, false
	}
	defer answer.Body.Close()
	return s, answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(&s) == nil
}

// await waits until a pipeline's status is as wanted.
func (p *process) await(pipeline, what string, is func(telemetry.Status) bool) telemetry.Status {
	p.t.Helper()
	var last telemetry.Status
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && p.running(); time.Sleep(20 * time.Millisecond) {
		if s, ok := p.status(pipeline); ok {
			if last = s; is(s) {
				return s
			}
		}
	}
	p.t.Fatalf("waited for %s in vain: %+v", what, last)
	return last
}

// file returns a line's value in a file of /proc/PID, in bytes where it has kB.
func (p *process) proc(file, key string) int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			f := strings.Fields(value)
			n, err := strconv.ParseInt(f[0], 10, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			if len(f) > 1 && f[1] == "kB" {
				n <<= 10
			}
			return n
		}
	}
	p.t.Fatalf("%s has no %s", file, key)
	return 0
}

// rss is the resident memory that is of no file, as those pages come and go with
// what the machine has room for; peak is the most that ever was, with them.
func (p *process) rss() int64  { return p.proc("status", "RssAnon") }
func (p *process) peak() int64 { return p.proc("status", "VmHWM") }

// queues returns, for each connection of this machine to a server's port, the
// bytes that came and wait to be read by the client, and those that the server
// could not send yet.
func queues(t *testing.T, port int) (waiting, unsent []int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != "01" { // established
			continue
		}
		tx, rx, _ := strings.Cut(f[4], ":")
		n := func(text string) int64 { v, _ := strconv.ParseInt(text, 16, 64); return v }
		if portOf(f[2]) == port && n(rx) > 0 {
			waiting = append(waiting, n(rx))
		}
		if portOf(f[1]) == port && n(tx) > 0 {
			unsent = append(unsent, n(tx))
		}
	}
	return waiting, unsent
}

// portOf reads "0100007F:1F90".
func portOf(address string) int {
	_, text, _ := net.SplitHostPort(address)
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

const mib = 1 << 20
