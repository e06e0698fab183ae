package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// daemon is one cdcd: the real binary with a configuration and a state
// directory of its own.
type daemon struct {
	r      *rig
	config string // path
	state  string // directory
	admin  string // host:port
	output *os.File
	clocks bool // its clock can be set
	mayEnd bool // by itself, because of what was done to its stream

	mu    sync.Mutex
	life  *life // nil while it is down on purpose
	wrong []error
}

// life is a run of the daemon, over as many processes as it takes.
type life struct {
	stop  chan struct{} // closed by kill
	ended chan struct{} // closed when no process is left and none will be
	cmd   *exec.Cmd
	clock *testserver.Clock
}

// supervisorWait is how long a supervisor waits before it starts a daemon again
// that found no server.
const supervisorWait = 200 * time.Millisecond

// start runs the pipeline until it is killed.
func (d *daemon) start() {
	d.r.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	l := &life{stop: make(chan struct{}), ended: make(chan struct{})}
	if err := d.spawn(l); err != nil {
		d.r.t.Fatalf("start cdcd: %v", err)
	}
	d.life = l
	go d.supervise(l)
}

// spawn starts a process; called with mu held.
func (d *daemon) spawn(l *life) (err error) {
	l.cmd = d.command(context.Background(), "run", d.config)
	if !d.clocks {
		return l.cmd.Start()
	}
	l.clock, err = testserver.StartWithClock(l.cmd)
	return err
}

// supervise waits for the end. A process that ends by itself is wrong, but for
// one that finds no server while servers are harmed: that has exit code 3, and is
// started again as any supervisor would.
func (d *daemon) supervise(l *life) {
	defer close(l.ended)
	for {
		err := l.cmd.Wait()
		select {
		case <-l.stop:
			return
		default:
		}
		exit, ok := errors.AsType[*exec.ExitError](err)
		if d.mayEnd {
			return
		}
		if !ok || exit.ExitCode() != 3 || !d.r.outages {
			d.mu.Lock()
			d.wrong = append(d.wrong, fmt.Errorf("cdcd ended by itself: %v", err))
			d.mu.Unlock()
			return
		}
		select {
		case <-l.stop:
			return
		case <-time.After(supervisorWait):
		}
		if err := d.again(l); err != nil {
			return
		}
	}
}

// gaveUp reports whether the daemon has ended where it should not.
func (d *daemon) gaveUp() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.wrong) > 0
}

// again starts the next process of a life, unless that is over.
func (d *daemon) again(l *life) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-l.stop:
		return errors.New("killed")
	default:
	}
	err := d.spawn(l)
	if err != nil {
		d.wrong = append(d.wrong, err)
	}
	return err
}

// awaitEnd reports whether the daemon ends by itself within the time.
func (d *daemon) awaitEnd(patience time.Duration) bool {
	d.mu.Lock()
	l := d.life
	d.mu.Unlock()
	select {
	case <-l.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// kill is SIGKILL; it returns when the process is gone.
func (d *daemon) kill() {
	d.mu.Lock()
	l := d.life
	d.life = nil
	if l != nil {
		close(l.stop)
		_ = l.cmd.Process.Kill() // gone already: supervise has told
		if l.clock != nil {
			_ = l.clock.Close()
		}
	}
	wrong := d.wrong
	d.wrong = nil
	d.mu.Unlock()
	if l != nil {
		<-l.ended
	}
	for _, err := range wrong {
		d.r.t.Error(err)
	}
}

// signal sends a signal to the process, if there is one.
func (d *daemon) signal(s syscall.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life != nil {
		_ = d.life.cmd.Process.Signal(s) // gone already: supervise has told
	}
}

// jump sets the process's clock, if it has one of its own.
func (d *daemon) jump(offset time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.life != nil && d.life.clock != nil {
		if err := d.life.clock.Jump(offset); err != nil && d.life.cmd.ProcessState == nil {
			d.r.t.Logf("%v", err) // it has just ended by itself
		}
	}
}

func (d *daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	fmt.Fprintf(d.output, "--- cdcd %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.r.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.r.dir, d.output, d.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// catchUp runs the pipeline until it has read all that the database has written.
// However much that is: only one that reads no row for the time of patience is
// stuck.
func (d *daemon) catchUp(patience time.Duration) error {
	d.r.t.Helper()
	ctx, cancel := context.WithCancel(d.r.t.Context())
	defer cancel()
	cmd := d.command(ctx, "run", d.config, "--until", "caught-up")
	// One that is stuck says where: SIGQUIT prints its goroutines.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	moved, rows := time.Now(), uint64(0)
	for {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("cdcd run --until caught-up: %w; no row for %v", err, time.Since(moved).Round(time.Second))
			}
			return nil
		case <-time.After(time.Second):
		}
		if s := d.status(); s.RowsIn != rows {
			moved, rows = time.Now(), s.RowsIn
		}
		if time.Since(moved) > patience {
			cancel()
		}
	}
}

// pipelineStatus is what the daemon says of its pipeline.
type pipelineStatus struct {
	State, Code, Reason string
	RowsIn              uint64 `json:"rows_in"`
	Source              struct {
		Snapshot *struct { // of tables; nil where none are copied
			Complete bool
			Request  string // whose tables are copied
		}
	}
}

// status asks the daemon; the zero value when it doesn't answer.
func (d *daemon) status() (s pipelineStatus) {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + d.admin + "/v1/pipelines/" + pipelineName)
	if err != nil {
		return s
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		return pipelineStatus{}
	}
	return s
}

// summary is what the daemon said of its pipeline when it last ended by itself.
func (d *daemon) summary() (s pipelineStatus) {
	all, err := os.ReadFile(d.output.Name())
	if err != nil {
		return s
	}
	at := bytes.LastIndex(all, []byte(`{"event":"summary"`))
	if begin := bytes.LastIndex(all, []byte("--- cdcd ")); at < begin || at < 0 {
		return s
	}
	var event struct{ Pipelines []pipelineStatus }
	line, _, _ := bytes.Cut(all[at:], []byte("\n"))
	if json.Unmarshal(line, &event) == nil && len(event.Pipelines) == 1 {
		s = event.Pipelines[0]
	}
	return s
}

// tail is the end of what cdcd wrote.
func (d *daemon) tail() string {
	all, err := os.ReadFile(d.output.Name())
	if err != nil {
		return err.Error()
	}
	// A status comes every ten seconds; goroutines are worth more lines.
	lines := slices.DeleteFunc(bytes.Split(all, []byte("\n")), func(line []byte) bool {
		return bytes.HasPrefix(line, []byte(`{"event":"status"`))
	})
	return string(bytes.Join(lines[max(0, len(lines)-120):], []byte("\n")))
}

// build builds cdcd with its connectors, unless there is one to test.
func build(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CDCD_TEST_BINARY"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "cdcd")
	for _, argv := range [][]string{{"make", "-s", "connectors"}, {"go", "build", "-o", path, "./cmd/cdcd"}} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build cdcd: %s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	return path
}
