package oracle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

const (
	pipelineName = "shop"
	streamName   = "SHOP"
)

// rig is a pipeline in the real binary, between a real database and a real
// broker: a process of its own, or the one embedded in the binary.
type rig struct {
	t      *testing.T
	binary string
	config string
	dir    string
	db     *testserver.DB
	broker *testserver.NATSServer // nil: embedded
	url    string
	output *os.File
	child  *exec.Cmd
	// outages says that servers are killed as well: cdcd then ends with exit
	// code 3 when one is down while it starts, and a supervisor starts it again.
	outages bool
}

// newRig writes the configuration. steps is YAML, indented by six.
func newRig(t *testing.T, db *testserver.DB, broker *testserver.NATSServer, steps string) *rig {
	t.Helper()
	r := &rig{t: t, binary: binary(t), dir: t.TempDir(), db: db, broker: broker}
	db.CreateUser(t, "cdcd", "secret")
	var nats string
	if broker != nil {
		r.url = broker.URL()
		nats = fmt.Sprintf("{url: %q}", r.url)
	} else {
		listen := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
		r.url = "nats://" + listen
		nats = fmt.Sprintf("{embedded: {listen: %q}}", listen)
	}
	config := fmt.Sprintf(`version: 1
pipelines:
  %s:
    source:
      mysql:
        dsn: %q
        tables: [%s]
        snapshot: never
    steps:
%s
    sink:
      jetstream: {stream: %s, format: json, max_age: 1d, max_bytes: 20GiB}
server: {listen: "127.0.0.1:%d"}
state: {dir: %q}
nats: %s
`, pipelineName, db.UserDSN("cdcd", "secret"), strings.Join(Tables(), ", "), strings.TrimRight(steps, "\n"),
		streamName, testserver.Port(t), filepath.Join(r.dir, "state"), nats)
	r.config = filepath.Join(r.dir, "cdcd.yaml")
	if err := os.WriteFile(r.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.output, err = os.Create(filepath.Join(r.dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.kill()
		r.output.Close()
		if t.Failed() {
			t.Logf("configuration:\n%s\nend of the output:\n%s", config, r.tail())
		}
	})
	return r
}

// binary builds cdcd with its connectors, once for the test process.
var binary = func() func(*testing.T) string {
	var once sync.Once
	var path string
	var failure error
	return func(t *testing.T) string {
		t.Helper()
		once.Do(func() { path, failure = build() })
		if failure != nil {
			t.Fatalf("build cdcd: %v", failure)
		}
		return path
	}
}()

func build() (string, error) {
	if path := os.Getenv("CDCD_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "cdcd-oracle-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cdcd")
	for _, argv := range [][]string{{"make", "-s", "connectors"}, {"go", "build", "-o", path, "./cmd/cdcd"}} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	return path, nil
}

// start runs the pipeline until it is killed.
func (r *rig) start() {
	r.t.Helper()
	r.child = r.command(context.Background(), "run", r.config)
	if err := r.child.Start(); err != nil {
		r.t.Fatalf("start cdcd: %v", err)
	}
}

func (r *rig) command(ctx context.Context, args ...string) *exec.Cmd {
	fmt.Fprintf(r.output, "--- cdcd %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, r.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, r.output, r.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// kill is SIGKILL. A pipeline that has ended before that by itself fails the
// test, but for a start without its servers: nothing else is a reason to give up.
func (r *rig) kill() {
	if r.child == nil {
		return
	}
	_ = r.child.Process.Signal(syscall.SIGKILL) // gone already: told below
	err := r.child.Wait()
	r.child = nil
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok && exit.Sys().(syscall.WaitStatus).Signaled():
	case ok && r.outages && exit.ExitCode() == 3:
		r.t.Logf("cdcd could not start without its servers: %v", err)
	default:
		r.t.Errorf("cdcd ended by itself: %v", err)
	}
}

// catchUp runs the pipeline until it has read all that the database has written.
func (r *rig) catchUp(timeout time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), timeout)
	defer cancel()
	cmd := r.command(ctx, "run", r.config, "--until", "caught-up")
	// One that is stuck says where: SIGQUIT prints its goroutines.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("cdcd run --until caught-up: %v; context: %v", err, ctx.Err())
	}
}

// awaitStream waits until the pipeline has claimed its stream: from then on it
// must miss nothing.
func (r *rig) awaitStream() {
	r.t.Helper()
	waitFor(r.t, "the stream", func() bool {
		n, err := Read(r.t.Context(), r.connect(), streamName, func(Message) {})
		return err == nil && n > 0
	})
}

// connect opens a connection to the broker; the embedded one needs a running cdcd.
func (r *rig) connect() *nats.Conn {
	r.t.Helper()
	var conn *nats.Conn
	waitFor(r.t, "the broker", func() (ok bool) {
		var err error
		conn, err = nats.Connect(r.url)
		return err == nil
	})
	r.t.Cleanup(conn.Close)
	return conn
}

// judge reads the whole stream and compares it with the tables.
func (r *rig) judge(w *Workload, masked map[string]func(string) string) Report {
	r.t.Helper()
	if r.broker == nil {
		r.start()
		defer r.kill()
	}
	checker := NewChecker(Spec{Pipeline: pipelineName, Masked: masked})
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Minute)
	defer cancel()
	var err error
	waitFor(r.t, "the stream", func() bool {
		var n int
		n, err = Read(ctx, r.connect(), streamName, checker.Message)
		return err == nil || n > 0
	})
	if err != nil {
		r.t.Fatal(err)
	}
	tables, err := w.Tables()
	if err != nil {
		r.t.Fatal(err)
	}
	checker.Compare(tables)
	return checker.Report()
}

// tail is the end of what cdcd wrote.
func (r *rig) tail() string {
	all, err := os.ReadFile(r.output.Name())
	if err != nil {
		return err.Error()
	}
	// A status comes each second; goroutines are worth more lines.
	lines := slices.DeleteFunc(bytes.Split(all, []byte("\n")), func(line []byte) bool {
		return bytes.HasPrefix(line, []byte(`{"event":"status"`))
	})
	return string(bytes.Join(lines[max(0, len(lines)-400):], []byte("\n")))
}
