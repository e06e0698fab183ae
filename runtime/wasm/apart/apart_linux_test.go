package apart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// verb makes the test binary a child of itself.
const verb = "work-apart"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == verb {
		os.Exit(Serve(os.Args[2:], work))
	}
	if len(os.Args) > 1 && os.Args[1] == "be-a-parent" {
		os.Exit(beParent())
	}
	goleak.VerifyTestMain(m)
}

// work does what its input says, in a child.
func work(in io.Reader, out io.Writer) error {
	p, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	what, rest, _ := strings.Cut(string(p), " ")
	switch what {
	case "echo":
		_, err = io.WriteString(out, rest)
	case "spin":
		for {
		}
	case "sleep":
		_, _ = io.WriteString(out, strconv.Itoa(os.Getpid())+"\n")
		_ = out.(interface{ Flush() error }).Flush()
		time.Sleep(time.Hour)
	case "eat":
		var kept [][]byte
		for {
			kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "file":
		err = os.WriteFile("out", make([]byte, 3<<20), 0o600)
	case "flood":
		for err == nil {
			_, err = out.Write(make([]byte, 1<<16))
		}
	case "fail":
		err = errors.New(rest)
	case "look":
		err = look(out, rest)
	}
	return err
}

// look says what this process can reach.
func look(out io.Writer, outside string) error {
	status, _ := os.ReadFile("/proc/self/status") // not with Landlock
	fmt.Fprintln(out, "env", len(os.Environ()))
	fmt.Fprintln(out, "status", len(status))
	_, err := os.ReadFile(outside)
	fmt.Fprintln(out, "outside", err != nil)
	err = os.WriteFile("inside", []byte("x"), 0o600)
	fmt.Fprintln(out, "inside", err == nil)
	list, _ := net.Interfaces()
	up := slices.ContainsFunc(list, func(i net.Interface) bool { return i.Flags&net.FlagUp != 0 })
	fmt.Fprintln(out, "network", up)
	c, err := net.DialTimeout("tcp", "127.0.0.1:1", time.Second)
	if err == nil {
		_ = c.Close()
	}
	fmt.Fprintln(out, "dial", errors.Is(err, syscall.ECONNREFUSED))
	prio, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	fmt.Fprintln(out, "nice", 20-prio)
	fmt.Fprintln(out, "fd99", syscall.Fstat(99, new(syscall.Stat_t)) == nil)
	return nil
}

var limits = Limits{MemoryBytes: 128 << 20, FileBytes: 2 << 20, CPU: 2 * time.Second, Wall: 5 * time.Minute} // children are the last to get a processor

func run(t *testing.T, ctx context.Context, l Limits, input string) (string, Usage, error) {
	t.Helper()
	r, err := Self(verb)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	u, err := r.Run(ctx, t.TempDir(), l, []byte(input), func(in io.Reader) (err error) {
		out, err = io.ReadAll(in)
		return err
	})
	return string(out), u, err
}

func TestAnswer(t *testing.T) {
	text := strings.Repeat("all of it ", 50_000)
	out, u, err := run(t, t.Context(), limits, "echo "+text)
	if err != nil || out != text || u.CPU == 0 || u.PeakBytes < 1<<20 {
		t.Fatal(len(out), u, err)
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		input, limit string
		change       func(*Limits)
	}{
		{"spin", LimitCPU, func(l *Limits) { l.CPU = time.Second }},
		{"sleep", LimitWall, func(l *Limits) { l.Wall = 300 * time.Millisecond }},
		{"eat", LimitMemory, func(*Limits) {}},
		{"file", LimitFile, func(*Limits) {}},
	}
	for _, tt := range tests {
		t.Run(tt.input, func(t *testing.T) {
			t.Parallel()
			l := limits
			tt.change(&l)
			_, u, err := run(t, t.Context(), l, tt.input)
			var e *ExceededError
			if !errors.As(err, &e) || e.Limit != tt.limit || e.Bound == "" {
				t.Errorf("%v, want the limit on %s; it had %d bytes", err, tt.limit, u.PeakBytes)
			}
			if u.PeakBytes > 256<<20 || tt.limit == LimitMemory && u.PeakBytes < l.MemoryBytes/2 {
				t.Errorf("it had %d bytes", u.PeakBytes)
			}
		})
	}
}

// What Go's runtime says when it dies for want of memory, in its own words.
func TestOutOfMemoryIsKnown(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exit 2")
	_ = cmd.Run()
	const nothing = "SIGSEGV: segmentation violation\nPC=0x43507d m=5 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x2f490ce841e0 m=5 mp=0x2f490ce80008 [idle]:\n" +
		"runtime.(*spanQueue).tryDrain(0x7fa700000400?, 0x43d8c5?, 0x7f4408?)\n\t/usr/local/go/src/runtime/mgcmark_greenteagc.go:520 +0x5d\n"
	for text, want := range map[string]bool{
		"fatal error: runtime: out of memory\n": true,
		nothing:                                 true,
		strings.Replace(nothing, "addr=0x0", "addr=0x88", 1):             true, // a field of nothing
		strings.Replace(nothing, "addr=0x0", "addr=0xc000123456", 1):     false,
		strings.Replace(nothing, "goroutine 0 ", "goroutine 7 ", 1):      false,
		strings.Replace(nothing, "runtime.(*spanQueue)", "main.(*x)", 1): false,
		"panic: runtime error: invalid memory address or nil pointer\n":  false,
	} {
		err := exceeded(cmd.ProcessState, text, Usage{}, limits)
		if e, ok := errors.AsType[*ExceededError](err); ok != want || ok && e.Limit != LimitMemory {
			t.Errorf("%v, of %q", err, text)
		}
	}
}

func TestFloodIsCut(t *testing.T) {
	began := time.Now()
	out, _, err := run(t, t.Context(), limits, "flood")
	var e *ExceededError
	if !errors.As(err, &e) || e.Limit != LimitFile || len(out) > 3<<20 || time.Since(began) > limits.Wall/2 {
		t.Errorf("%d bytes after %v, %v", len(out), time.Since(began), err)
	}
}

func TestFailure(t *testing.T) {
	if _, _, err := run(t, t.Context(), limits, "fail it broke"); err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Error(err)
	}
}

// The child is dead and waited for when Run returns.
func TestCancel(t *testing.T) {
	r, err := Self(verb)
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("not wanted any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	pid := 0
	_, err = r.Run(ctx, t.TempDir(), limits, []byte("sleep"), func(in io.Reader) error {
		_, err := fmt.Fscan(in, &pid)
		cancel(stop)
		_, _ = io.Copy(io.Discard, in)
		return err
	})
	if !errors.Is(err, stop) || pid == 0 {
		t.Error(pid, err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
}

// A child can't outlive a parent that is killed.
func TestParentDies(t *testing.T) {
	cmd := exec.Command(os.Args[0], "be-a-parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// running tells a process from a zombie that nobody waits for.
func running(pid int) bool {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(p), ") Z ")
}

func beParent() int {
	r, err := Self(verb)
	if err != nil {
		return 1
	}
	_, _ = r.Run(context.Background(), ".", limits, []byte("sleep"), func(in io.Reader) error {
		_, err := io.Copy(os.Stdout, in)
		return err
	})
	return 0
}

// What is not refused holds. The child is built as cdcd is, without C: system
// calls on all threads need that.
func TestConfinement(t *testing.T) {
	r, err := Self(verb)
	if err != nil {
		t.Fatal(err)
	}
	r.path = filepath.Join(t.TempDir(), "child")
	build := exec.Command("go", "test", "-c", "-o", r.path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Dup3(int(f.Fd()), 99, 0); err != nil { // as somebody's who leaves files open
		t.Fatal(err)
	}
	defer syscall.Close(99)
	facts := map[string]string{}
	_, err = r.Run(t.Context(), t.TempDir(), limits, []byte("look "+outside), func(in io.Reader) error {
		p, err := io.ReadAll(in)
		for line := range strings.Lines(string(p)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			facts[name] = value
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	refusals, known := r.Refusals()
	if !known {
		t.Fatal("no report")
	}
	t.Log("refused:", refusals)
	refused := func(what string) bool {
		return slices.ContainsFunc(refusals, func(r Refusal) bool { return r.What == what })
	}
	if refused("new privileges") || refused("capabilities") {
		t.Error("what no kernel refuses was refused")
	}
	want := map[string]string{"env": "0", "inside": "true", "fd99": "false", "nice": strconv.Itoa(niceness)}
	if !refused("files") {
		want["outside"], want["status"] = "true", "0"
	}
	if !refused("network") {
		want["network"], want["dial"] = "false", "false"
	}
	for name, value := range want {
		if facts[name] != value {
			t.Errorf("%s is %s, not %s", name, facts[name], value)
		}
	}
}

// Where namespaces are refused the rest still works, says so, and asks no more.
func TestWithoutNamespaces(t *testing.T) {
	r, err := Self(verb)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	r.alone = func() *syscall.SysProcAttr {
		asked++
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_FS} // no kernel gives both
	}
	for range 2 {
		_, err = r.Run(t.Context(), t.TempDir(), limits, []byte("echo x"), func(in io.Reader) error {
			_, err := io.ReadAll(in)
			return err
		})
		refusals, _ := r.Refusals()
		if err != nil || !slices.ContainsFunc(refusals, func(r Refusal) bool { return r.What == "network" }) {
			t.Error(refusals, err)
		}
	}
	if asked != 1 {
		t.Errorf("namespaces were asked for %d times", asked)
	}
}

func TestMemoryLeft(t *testing.T) {
	const meminfo = "MemTotal: 99999999 kB\nMemAvailable:    1000 kB\n"
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing tells", nil, math.MaxInt64},
		{"the machine", map[string]string{"proc/meminfo": meminfo}, 1000 << 10},
		{"a group", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "5000\n", "sys/fs/cgroup/a/b/memory.current": "2000\n"}, 3000},
		{"the group above", map[string]string{"proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "2000\n",
			"sys/fs/cgroup/a/memory.max": "5000\n", "sys/fs/cgroup/a/memory.current": "4500\n"}, 500},
		{"pages of files", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "5000",
			"sys/fs/cgroup/memory.current": "5000", "sys/fs/cgroup/memory.stat": "anon 100\ninactive_file 700\nactive_file 200\n"}, 900},
		{"more than the machine has", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "9000000000", "sys/fs/cgroup/memory.current": "1"}, 1000 << 10},
		{"version 1", map[string]string{"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/x\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "7000", "sys/fs/cgroup/memory/memory.usage_in_bytes": "6000",
			"sys/fs/cgroup/memory/memory.stat": "total_inactive_file 50\n"}, 1050},
		{"over the limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "5000",
			"sys/fs/cgroup/memory.current": "6000"}, 0},
		{"not a number", map[string]string{"proc/self/cgroup": "0::/\nnonsense\n", "sys/fs/cgroup/memory.max": "x",
			"sys/fs/cgroup/memory.current": "6000"}, math.MaxInt64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := memoryLeft(root); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
	if left := MemoryLeft(); left <= 0 {
		t.Errorf("here: %d", left)
	}
}
