//go:build linux

package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// crime is one entry of the evil corpus: a module, or what is done with one, and
// what it may cost. A capability's floods belong here like any other.
type crime struct {
	name string
	// commit does it and returns how it ended. What it opens, it opens through the
	// scene.
	commit func(s *scene) error
	// want is the code of the fault that it ends with, "" for none.
	want string
	cost cost // 0 is costDefault
}

// cost is what a crime takes from the host: processor time, with that of
// children; memory resident beyond what was before, at the worst; time.
type cost struct {
	CPU, Time time.Duration
	Memory    int64
}

// Most crimes are over at once, or end by the time limit of the scene's jobs.
// Processor time and memory are the crime's own; how long it takes is the machine's
// matter too, and bounds what waits.
var costDefault = cost{CPU: 1500 * time.Millisecond, Time: 20 * time.Second, Memory: 40 << 20}

func (c cost) or(d cost) cost {
	if c.CPU == 0 {
		c.CPU = d.CPU
	}
	if c.Time == 0 {
		c.Time = d.Time
	}
	if c.Memory == 0 {
		c.Memory = d.Memory
	}
	return c
}

func (c cost) within(most cost) bool {
	return c.CPU <= most.CPU && c.Time <= most.Time && c.Memory <= most.Memory
}

func (c cost) String() string {
	return fmt.Sprintf("%4d ms of processor, %4d ms, %3d MiB", c.CPU.Milliseconds(), c.Time.Milliseconds(), c.Memory>>20)
}

func allCrimes() []crime {
	var all []crime
	for _, list := range [][]crime{decodeCrimes(), compileCrimes(), manifestCrimes(), spinCrimes(), memoryCrimes(), resultCrimes(),
		floodCrimes(), trapCrimes(), lifeCrimes(), capabilityCrimes(), kvCrimes(), leaveCrimes()} {
		all = append(all, list...)
	}
	return all
}

// evilEnv names the crime that a child process commits.
const evilEnv = "CDCD_TEST_EVIL"

// TestEvil commits each crime in a process of its own, with limits of its own,
// so that the day a bomb goes off it is a test that fails and not the machine.
func TestEvil(t *testing.T) {
	name := os.Getenv(evilEnv)
	crimes := allCrimes()
	if len(crimes) < 40 {
		t.Errorf("%d crimes", len(crimes))
	}
	known := map[string]bool{}
	for _, c := range crimes {
		if known[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		known[c.name] = true
		if c.name == name {
			commit(t, c)
		} else if name == "" && (!testing.Short() || strings.HasPrefix(c.name, "life/")) { // the short form is for the race detector: those with goroutines
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				inChild(t, c)
			})
		}
	}
}

// childTries is how often a crime may cost too much: the machine has other work,
// which a regression outlasts.
const childTries = 3

// detectorMemory is by how much the race detector, which the short form is for, may
// have a process take more. Its manual says five to ten times.
const detectorMemory = 5

// inChild runs the crime in a child and judges what it cost.
func inChild(t *testing.T, c crime) {
	most := c.cost.or(costDefault)
	if testing.Short() {
		most.Memory *= detectorMemory
	}
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(t.Context(), 4*most.Time+30*time.Second)
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEvil$", "-test.v")
		cmd.Env = append(os.Environ(), evilEnv+"="+c.name, "GOTRACEBACK=single")
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("the child did not survive: %v\n%s", err, out[max(0, len(out)-4000):])
		}
		var took cost
		_, report, ok := bytes.Cut(out, []byte("evil: "))
		report, _, _ = bytes.Cut(report, []byte("\n"))
		if !ok || json.Unmarshal(report, &took) != nil {
			t.Fatalf("the child says nothing:\n%s", out)
		}
		if took.within(most) {
			t.Logf("%v", took)
			return
		}
		if try == childTries {
			t.Fatalf("it took %v; it may take %v", took, most)
		}
	}
}

// Limits of a child, for the case that all others fail.
const (
	childAddressSpace = 12 << 30
	childCPUSeconds   = 90
)

// scene is where a crime is committed: a host with a good job at work.
type scene struct {
	*testing.T
	host *Host
	dir  string // the code cache
	log  bytes.Buffer
	open []func()
}

// sceneTime is how long a job of the scene may take.
const sceneTime = 150 * time.Millisecond

// load loads a module for the length of the scene.
func (s *scene) load(module []byte) (*Module, error) {
	m, err := s.host.Load(s.Context(), module)
	if err == nil {
		s.open = append(s.open, func() { _ = m.Close(context.Background()) })
	}
	return m, err
}

// start loads a guest and makes an instance, for the length of the scene.
func (s *scene) start(g evil, c InstanceConfig) (*Instance, error) {
	c.Capabilities = g.grants()
	m, err := s.load(stamp(s.T, g.bytes(), "evil", c.Capabilities...))
	if err != nil {
		return nil, err
	}
	if c.Time == 0 {
		c.Time = sceneTime
	}
	i, err := m.Instantiate(s.Context(), c)
	if err == nil {
		s.open = append(s.open, func() { s.close(i) })
	}
	return i, err
}

func (s *scene) close(i *Instance) {
	if r, err := i.Close(context.Background()); err != nil || !r.Clean() {
		s.Errorf("receipt %v: %v", r, err)
	}
}

// run gives two rows to a guest. They are as they were afterwards.
func (s *scene) run(g evil) error { return s.runWith(g, InstanceConfig{MemoryBytesMax: 16 << 20}) }

func (s *scene) runWith(g evil, c InstanceConfig) error {
	i, err := s.start(g, c)
	if err != nil {
		return err
	}
	in := batchOf("x", "y")
	before := string(in.Bytes())
	err = i.Transform(s.Context(), in, &Result{})
	if string(in.Bytes()) != before {
		s.Error("the input changed")
	}
	return err
}

// commit is the child: it sets the scene, has the crime committed, and looks
// what is left.
func commit(t *testing.T, c crime) {
	limit(t, syscall.RLIMIT_AS, childAddressSpace)
	limit(t, syscall.RLIMIT_CPU, childCPUSeconds)
	s := &scene{T: t, dir: filepath.Join(t.TempDir(), "cache")}
	var err error
	if s.host, err = NewHost(Options{Compile: CompileApart, CacheDir: s.dir, MemoryBytesMax: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := s.runAndClose(InstanceConfig{}, evil{data: map[uint32][]byte{200: []byte("first")}}); err != nil { // what is opened once is open now
		t.Fatal(err)
	}
	goroutines, fds := runtime.NumGoroutine(), descriptors()
	neighbour, err := s.start(evil{data: map[uint32][]byte{200: []byte("neighbour")}}, InstanceConfig{Time: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	restart()
	at := spent(t)
	err = c.commit(s)
	took := spent(t)
	switch {
	case err == nil && c.want != "":
		t.Errorf("no error; want %s", c.want)
	case err != nil:
		if f := fault.Of(err); f.Code != c.want || f.Hint == "" {
			t.Errorf("%v (hint %q); want %q", err, f.Hint, c.want)
		}
	}
	var res Result
	if err := neighbour.Transform(t.Context(), batchOf("a", "b", "c"), &res); err != nil || res.Passed != 3 {
		t.Errorf("the neighbour: %v", err)
	}
	for _, f := range s.open {
		f()
	}
	if left := s.host.Stats(); !left.Empty() {
		t.Errorf("left %+v", left)
	}
	if err := s.host.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > goroutines || descriptors() > fds; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("goroutines went from %d to %d, descriptors from %d to %d", goroutines, runtime.NumGoroutine(), fds, descriptors())
		}
	}
	report, _ := json.Marshal(cost{took.CPU - at.CPU, took.Time - at.Time, took.Memory - at.Memory})
	fmt.Printf("evil: %s\n", report)
}

func limit(t *testing.T, what int, n uint64) {
	if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		t.Fatal(err)
	}
}

// spent is what the process has used so far; its memory is the most that was
// resident since restart.
func spent(t *testing.T) cost {
	c := cost{Memory: int64(peakKB(t)) << 10, Time: time.Duration(time.Now().UnixNano())}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		c.CPU += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return c
}

// restart has the peak of resident memory begin anew, where the system can;
// elsewhere the peak so far counts.
func restart() {
	runtime.GC()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

// said checks what a fault says, beyond its code.
func (s *scene) said(err error, what string) error {
	if err == nil || !strings.Contains(err.Error(), what) {
		s.Errorf("%v does not say %q", err, what)
	}
	return err
}
