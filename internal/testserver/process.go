package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 90 * time.Second // generous: a busy two-core machine recovering a big redo log
	stopTimeout  = 60 * time.Second
	readyPoll    = 15 * time.Millisecond
)

// Process is the running half of a server: what a test kills, pauses and
// starts again. Its methods may be called from any goroutine.
type Process struct {
	name    string
	argv    []string
	logPath string
	ready   func() error // one attempt to talk to the server

	mu    sync.Mutex
	child *child // nil while the server is down on purpose
}

// child is one run of the server's executable.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed once the process is reaped
}

// spawn starts argv with its output appended to logPath.
func spawn(argv []string, logPath string) (*child, error) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	defer out.Close()
	c := &child{cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.Env = append(os.Environ(), "TZ=UTC")
	c.cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	go func() {
		// The kernel sends the parent-death signal when the thread that
		// forked ends, so that thread is held until the child is reaped.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait() // how it ended is in its log
		}
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return c, nil
}

func (c *child) running() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// Start starts the server and waits until it answers. It does nothing when the
// server runs already.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil && p.child.running() {
		return nil
	}
	c, err := spawn(p.argv, p.logPath)
	if err != nil {
		return err
	}
	p.child = c
	deadline := time.Now().Add(startTimeout)
	for {
		err := p.ready()
		switch {
		case err == nil:
			return nil
		case !c.running():
			return fmt.Errorf("%s ended while starting; its log:\n%s", p.name, p.LogTail(40))
		case time.Now().After(deadline):
			return fmt.Errorf("%s not ready after %v: %w; its log:\n%s", p.name, startTimeout, err, p.LogTail(40))
		}
		time.Sleep(readyPoll)
	}
}

// Kill sends SIGKILL and returns when the process is gone.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.child == nil {
		return
	}
	_ = p.child.cmd.Process.Kill() // fails only when it is gone already
	<-p.child.exited
	p.child = nil
}

// Stop shuts the server down in order, and kills it if that takes longer than
// a minute.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return
	}
	_ = p.child.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.child.cmd.Process.Signal(syscall.SIGCONT) // a paused process would never see the first
	select {
	case <-p.child.exited:
		p.child = nil
	case <-time.After(stopTimeout):
		p.kill()
	}
}

// Pause freezes the server with SIGSTOP: connections stay open, nothing answers.
func (p *Process) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil && p.child.cmd.Process.Signal(syscall.SIGSTOP) == nil {
		awaitStopped(p.child.cmd.Process.Pid)
	}
}

// Resume lets a paused server run on.
func (p *Process) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil {
		_ = p.child.cmd.Process.Signal(syscall.SIGCONT) // fails only when it is gone
	}
}

// Restart starts the server on the same port and data, after stopping it in
// order if it still runs.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.Stop()
	if err := p.Start(); err != nil {
		t.Fatalf("restart: %v", err)
	}
}

// PID is the process id, or 0 while the server is down.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	return p.child.cmd.Process.Pid
}

// LogTail returns the last n lines that the server wrote to its log.
func (p *Process) LogTail(n int) string {
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// cleanup ends the server with the test, and tells if it had ended by itself.
func (p *Process) cleanup(t testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child != nil && !p.child.running() {
		t.Errorf("%s ended by itself during the test; its log:\n%s", p.name, p.LogTail(40))
	} else if t.Failed() {
		t.Logf("end of the log of %s:\n%s", p.name, p.LogTail(20))
	}
	p.kill()
}

// run runs a command to its end and puts its output into the error.
func run(argv ...string) error {
	runtime.LockOSThread() // see spawn
	defer runtime.UnlockOSThread()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = dieWithParent()
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("run %s: %w", argv[0], err), errors.New(string(out)))
	}
	return nil
}
