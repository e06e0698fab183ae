package wasm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// chaosEnv has the test binary be the child of TestChaos: "seed seconds cache".
const chaosEnv = "CDCD_WASM_CHAOS"

// Memory that is unmapped too early is the end of the process, which no test
// can catch: so a child does it, for as many seconds as CDCD_WASM_CHAOS_SECONDS says.
func TestChaos(t *testing.T) {
	if os.Getenv(chaosEnv) != "" {
		chaos(t)
		return
	}
	seconds := 3
	if n, err := strconv.Atoi(os.Getenv("CDCD_WASM_CHAOS_SECONDS")); err == nil {
		seconds = n
	}
	seed := uint64(time.Now().UnixNano())
	cmd := exec.Command(os.Args[0], "-test.run=^TestChaos$", "-test.timeout="+fmt.Sprint(time.Duration(seconds)*time.Second+2*time.Minute))
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", chaosEnv, seed, seconds, filepath.Join(buildDir, "cache")))
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("seed %d: %v\n%s", seed, err, out)
	}
}

// agent is a goroutine of the chaos: it does to its own and to others'
// instances what comes to its mind.
type agent struct {
	*rand.Rand
	t       *testing.T
	h       *Host
	modules [][]byte
	shared  *victims
	done    [8]int // what came of it, by kind
}

// victims are instances that anybody may close.
type victims struct {
	mu   sync.Mutex
	list []*Instance
}

func (v *victims) add(i *Instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, i)
}

func (v *victims) any(r *rand.Rand) *Instance {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.list) == 0 {
		return nil
	}
	k := r.IntN(len(v.list))
	i := v.list[k]
	if r.IntN(3) == 0 {
		v.list = append(v.list[:k], v.list[k+1:]...)
	}
	return i
}

var chaosCommands = []string{"x", "edit:longer text", "grow:70000", "grow:3000000", "panic:no", "exit:3", "loop", "work:100000", "count", "print:hello", "replace:3", "dead:no"}

func (a *agent) act(ctx context.Context) {
	m, err := a.h.Load(ctx, a.modules[a.IntN(len(a.modules))])
	if a.expected(err) {
		return
	}
	defer func() {
		for range 1 + a.IntN(2) {
			_ = m.Close(ctx)
		}
	}()
	c := InstanceConfig{Pipeline: "p" + strconv.Itoa(a.IntN(3)), Step: "s", Time: time.Duration(1+a.IntN(50)) * time.Millisecond,
		MemoryBytesMax: []int64{0, 1 << 20, 4 << 20, 16 << 20}[a.IntN(4)]}
	if a.IntN(4) == 0 {
		c.Config = []byte(`"` + []string{"refuse", "panic", "retype"}[a.IntN(3)] + `"`)
	}
	start, cancel := context.WithTimeout(ctx, time.Duration(1+a.IntN(40))*time.Millisecond)
	i, err := m.Instantiate(start, c)
	cancel()
	if a.expected(err) {
		return
	}
	a.shared.add(i)
	res := Result{}
	for range a.IntN(4) {
		call, cancel := context.WithTimeout(ctx, time.Duration(a.IntN(20)+1)*time.Millisecond)
		err := i.Transform(call, batchOf(chaosCommands[a.IntN(len(chaosCommands))], "y"), &res)
		cancel()
		if err == nil && res.Out.Rows() > 0 {
			_ = res.Out.Row(0).After().Bytes(1) // of the host's own memory
		}
		a.expected(err)
		a.meddle(ctx)
	}
	if a.IntN(2) == 0 {
		a.end(ctx, i)
	}
}

// meddle does something that has nothing to do with what the agent is at.
func (a *agent) meddle(ctx context.Context) {
	switch a.IntN(6) {
	case 0, 1:
		if v := a.shared.any(a.Rand); v != nil {
			a.end(ctx, v)
		}
	case 2:
		if v := a.shared.any(a.Rand); v != nil && v.MemoryBytes() < 0 {
			a.t.Error("less than nothing")
		}
	case 3:
		if s := a.h.Stats(); s.MemoryBytes+s.SnapshotBytes > s.MemoryBytesMax || s.MemoryBytes < 0 {
			a.t.Errorf("%+v", s)
		}
		_ = a.h.Usage()
	case 4:
		if a.IntN(20) == 0 {
			if _, err := a.h.Verify(ctx); err != nil && !fault.HasCode(err, "unload_incomplete") {
				a.t.Error(err)
			}
		}
	}
}

func (a *agent) end(ctx context.Context, i *Instance) {
	for range 1 + a.IntN(2) {
		if r, err := i.Close(ctx); err != nil || !r.Clean() {
			a.t.Error(r, err)
		}
	}
	a.done[0]++
}

// expected reports whether there was an error, which must be one that is meant to be.
func (a *agent) expected(err error) bool {
	if err == nil {
		a.done[1]++
		return false
	}
	if code := fault.Of(err).Code; code == "unexpected" && context.Cause(a.t.Context()) == nil && !isEnd(err) {
		a.t.Errorf("%T: %v", err, err)
	}
	a.done[2]++
	return true
}

func isEnd(err error) bool {
	return strings.Contains(err.Error(), context.DeadlineExceeded.Error()) || strings.Contains(err.Error(), context.Canceled.Error())
}

func chaos(t *testing.T) {
	var seed uint64
	var seconds int
	var cache string // the parent's: compiling a Go guest takes longer than the chaos
	if _, err := fmt.Sscan(os.Getenv(chaosEnv), &seed, &seconds, &cache); err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(Options{Compile: CompileHere, Idle: 3 * time.Millisecond, MemoryBytesMax: 60 << 20, PipelineBytesMax: 40 << 20, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	lab := goGuest(t, "lab")
	modules := [][]byte{lab, lab, lab, stamp(t, started(0x00).bytes(), "trap"),
		stamp(t, passAll().bytes(), "pass"), stamp(t, started(0x41, 40, 0x40, 0, 0x1a).bytes(), "grown")}
	m, err := h.Load(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	held := seed%4 > 0 // so that its code stays; loading it takes longer than all else
	if !held {
		_ = m.Close(t.Context())
	}
	before := mappings()
	var shared victims
	var wg sync.WaitGroup
	ctx := t.Context()
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	agents := make([]*agent, 6)
	for k := range agents {
		a := &agent{Rand: rand.New(rand.NewPCG(seed, uint64(k))), t: t, h: h, modules: modules, shared: &shared}
		agents[k] = a
		wg.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				a.act(ctx)
			}
		})
	}
	wg.Wait()
	if held {
		_ = m.Close(ctx)
	}
	total := [8]int{}
	for _, a := range agents {
		for k, n := range a.done {
			total[k] += n
		}
	}
	if total[0] == 0 || total[1] == 0 || total[2] == 0 {
		t.Errorf("little happened: %d closed, %d went well, %d refused", total[0], total[1], total[2])
	}
	t.Logf("%d closed, %d went well, %d refused", total[0], total[1], total[2])
	if err := h.Close(ctx); err != nil {
		t.Error(err)
	}
	if u, err := h.Verify(ctx); err != nil {
		t.Error(u, err)
	}
	if s := h.Stats(); s.Instances != 0 || s.Mappings != 0 || s.MemoryBytes != 0 || s.SnapshotBytes != 0 || s.Modules != 0 || s.Files != 0 {
		t.Errorf("left: %+v", s)
	}
	if now := mappings(); now > before+40 { // Go's own heap has some more
		t.Errorf("mappings went from %d to %d", before, now)
	}
}
