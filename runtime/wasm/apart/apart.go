package apart

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/internal/unit"
)

// Limits bound one child.
type Limits struct {
	MemoryBytes int64         `json:"memory_bytes"` // on top of what a Go process has when it begins
	FileBytes   int64         `json:"file_bytes"`   // of each file that it writes, and of its answer
	CPU         time.Duration `json:"cpu"`          // processor time of all threads, in whole seconds
	Wall        time.Duration `json:"wall"`         // from start to end
}

// Refusal is a confinement that the system does not grant.
type Refusal struct {
	What string `json:"what"` // the confinement: "network", "files"
	Why  string `json:"why"`
}

// Usage is what a child took.
type Usage struct {
	CPU       time.Duration
	PeakBytes int64 // resident
}

// The limits that a child can exceed.
const (
	LimitMemory = "memory"
	LimitCPU    = "processor time"
	LimitWall   = "time"
	LimitFile   = "size of the result"
)

// ExceededError says which limit ended a child.
type ExceededError struct {
	Limit string // one of the Limit constants
	Bound string // its value, with its unit
}

// Error names the limit and its value.
func (e *ExceededError) Error() string { return "the limit on " + e.Limit + " is " + e.Bound }

// DiedError is a child that ended before it had answered, for no limit.
type DiedError struct {
	State string // "exit status 2"
	Text  string // the first of what it wrote to standard error
}

// Error has the state and what the child wrote.
func (e *DiedError) Error() string {
	return "the child process ended early (" + e.State + "): " + e.Text
}

// Runner starts children. It is safe for concurrent use.
type Runner struct {
	path  string
	args  []string
	alone func() *syscall.SysProcAttr // namespaces to ask for

	mu       sync.Mutex
	bare     bool // namespaces are refused here: don't ask again
	refusals []Refusal
	known    bool // a child has said what is refused
}

// Self returns a Runner of this program with a verb, which must lead to Serve.
func Self(verb string) (*Runner, error) {
	path := "/proc/self/exe" // also when the file was replaced since
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	return &Runner{path: path, args: []string{filepath.Base(os.Args[0]), verb}, alone: namespaces}, nil
}

// Refusals returns what the system refused the children so far; known is false
// when none has run.
func (r *Runner) Refusals() (list []Refusal, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal(nil), r.refusals...), r.known
}

// Run starts a child in dir, which is the only place where it may write, gives
// it input and its answer to read. It returns when the child has ended, whatever
// the reason. The error is ctx's cause, an *ExceededError, a *DiedError or
// read's error.
func (r *Runner) Run(ctx context.Context, dir string, limits Limits, input []byte, read func(io.Reader) error) (Usage, error) {
	// The parent's death is signalled when the *thread* ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	deadline, cancel := context.WithTimeout(ctx, limits.Wall)
	defer cancel()
	c, err := r.start(deadline, dir, limits, input)
	if err != nil {
		return Usage{}, errors.Join(context.Cause(ctx), err)
	}
	readErr := r.answer(c.out, limits, read)
	if readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		c.stopped = true // it may be waiting for somebody to read
		_ = c.cmd.Process.Kill()
	}
	waitErr := c.cmd.Wait()
	u := usage(c.cmd.ProcessState)
	switch {
	case ctx.Err() != nil:
		return u, context.Cause(ctx)
	case deadline.Err() != nil:
		return u, &ExceededError{LimitWall, limits.Wall.String()}
	}
	if why := exceeded(c.cmd.ProcessState, c.errs.String(), u, limits); why != nil && !c.stopped {
		return u, why
	}
	if readErr != nil && !errors.Is(readErr, io.ErrUnexpectedEOF) { // what the child can't say better
		return u, readErr
	}
	if err := errors.Join(readErr, waitErr); err != nil {
		return u, &DiedError{State: c.cmd.ProcessState.String(), Text: strings.TrimSpace(c.errs.String())}
	}
	return u, nil
}

// child is a process that runs.
type child struct {
	cmd     *exec.Cmd
	out     io.Reader
	errs    *head
	stopped bool // by Run, for its answer
}

// start starts a child, without namespaces when they are refused.
func (r *Runner) start(ctx context.Context, dir string, limits Limits, input []byte) (*child, error) {
	r.mu.Lock()
	bare := r.bare
	r.mu.Unlock()
	if !bare {
		c, err := r.startWith(ctx, dir, limits, input, r.alone(), "")
		var refusal syscall.Errno
		if err == nil || ctx.Err() != nil || !errors.As(err, &refusal) {
			return c, err
		}
		c, plain := r.startWith(ctx, dir, limits, input, nil, "no namespace of its own: "+refusal.Error())
		if plain != nil {
			return nil, plain
		}
		r.mu.Lock()
		r.bare = true
		r.mu.Unlock()
		return c, nil
	}
	return r.startWith(ctx, dir, limits, input, nil, "no namespace of its own")
}

func (r *Runner) startWith(ctx context.Context, dir string, limits Limits, input []byte, sys *syscall.SysProcAttr, shared string) (*child, error) {
	order, err := json.Marshal(order{Limits: limits, Shared: shared})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, r.path)
	cmd.Args = append(append([]string(nil), r.args...), string(order))
	cmd.Env = []string{}
	cmd.Dir = dir
	cmd.SysProcAttr = attributes(sys)
	cmd.Stdin = bytes.NewReader(input)
	errs := &head{}
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, out: out, errs: errs}, nil
}

// order is what a child is told on its command line.
type order struct {
	Limits
	Shared string `json:"shared,omitempty"` // why it has no namespaces of its own
}

// reportBytesMax bounds the first line of an answer.
const reportBytesMax = 64 << 10

// answer takes the child's report and leaves the rest to read.
func (r *Runner) answer(out io.Reader, limits Limits, read func(io.Reader) error) error {
	cut := &io.LimitedReader{R: out, N: limits.FileBytes + reportBytesMax}
	in := bufio.NewReaderSize(cut, reportBytesMax)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	var refusals []Refusal
	if err := json.Unmarshal(line, &refusals); err != nil {
		return fmt.Errorf("what the child process says is not understood: %w", err)
	}
	r.mu.Lock()
	if !r.known || len(refusals) > 0 {
		r.refusals, r.known = refusals, true
	}
	r.mu.Unlock()
	err = read(in)
	if cut.N <= 0 {
		return &ExceededError{LimitFile, unit.Bytes(limits.FileBytes).String()}
	}
	return err
}

func usage(s *os.ProcessState) Usage {
	return Usage{CPU: s.UserTime() + s.SystemTime(), PeakBytes: peak(s)}
}

// exceeded finds the limit that ended a process, if one did. Go's runtime has
// many ways to say that the kernel gave it no memory.
func exceeded(s *os.ProcessState, text string, u Usage, limits Limits) error {
	says := func(list ...string) bool {
		return slices.ContainsFunc(list, func(part string) bool { return strings.Contains(text, part) })
	}
	switch {
	case s.Success():
		return nil
	case says("SIGXCPU"), killed(s) && u.CPU >= limits.CPU/2:
		return &ExceededError{LimitCPU, limits.CPU.String()}
	case nilInRuntime.MatchString(text), killed(s), // by nobody here: the kernel, out of memory
		says("out of memory", "cannot allocate memory", "failed to allocate", "failed to reserve", "cannot map pages", "cannot remap pages",
			"failed to create new OS thread", "pthread_create failed", "cannot disable permissions in address space"):
		return &ExceededError{LimitMemory, unit.Bytes(limits.MemoryBytes).String()}
	case says("file too large"):
		return &ExceededError{LimitFile, unit.Bytes(limits.FileBytes).String()}
	}
	return nil
}

// nilInRuntime is what Go's runtime says where the kernel gave it no memory and it
// did not look: a nil pointer, on a stack of its own.
var nilInRuntime = regexp.MustCompile(`SIGSEGV: [^\n]*\nPC=[^\n]* addr=0x[0-9a-f]{1,3}\n\ngoroutine 0 [^\n]*\nruntime\.`)

// head keeps the first kilobytes of what is written: a Go process that dies
// says why, and then a lot more.
type head struct{ text []byte }

const headBytesMax = 2 << 10

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), headBytesMax-len(h.text))]...)
	return len(p), nil
}

func (h *head) String() string { return string(h.text) }
