//go:build linux

package wasm

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
)

// trapCrimes end where they should not, in each function.
func trapCrimes() []crime {
	var all []crime
	for _, p := range places {
		want := codeTrap
		if p.f != fnSchema && p.f != fnTransform {
			want = "step_start"
		}
		all = append(all,
			crime{name: "trap/" + p.name, want: want, commit: func(s *scene) error { return s.run(first(p.f, trap, nil)) }},
			crime{name: "exit/" + p.name, want: want, commit: func(s *scene) error {
				g := first(p.f, do(i32(0), call(0)), p.value)
				g.imports = importExit
				return s.said(s.run(g), "ended itself")
			}})
	}
	return append(all,
		crime{name: "trap/cdcd_error", want: "step_start", commit: func(s *scene) error {
			return s.run(evil{does: map[int]ops{fnInit: i64(-1), fnError: trap}})
		}},
		crime{name: "trap/import of another type", want: "module_invalid", commit: func(s *scene) error {
			return s.run(evil{imports: []guestImport{{wasiModule, "fd_write", tNone}}, does: map[int]ops{fnTransform: do(call(0), passes())}})
		}},
		crime{name: "trap/data outside", want: "step_start", commit: func(s *scene) error { return s.run(evil{data: map[uint32][]byte{1 << 30: {1}}}) }},
		crime{name: "trap/the host's own name", want: "module_import_denied", commit: func(s *scene) error {
			return s.run(evil{imports: []guestImport{{meter.HostModule, meter.HostFunc, tNone}}})
		}},
		crime{name: "trap/a thousand starts", cost: cost{CPU: 4 * time.Second, Time: 30 * time.Second}, commit: func(s *scene) error {
			m, err := s.load(stamp(s.T, first(fnStart, trap, nil).bytes(), "evil"))
			if err != nil {
				return err
			}
			before := mappings()
			for range 1000 {
				if _, err := m.Instantiate(s.Context(), InstanceConfig{}); !fault.HasCode(err, "step_start") {
					return err
				}
			}
			if now := mappings(); now > before+16 {
				s.Errorf("mappings went from %d to %d", before, now)
			}
			return nil
		}},
	)
}

// lifeCrimes end, and go on.
func lifeCrimes() []crime {
	return []crime{
		{name: "life/closed under a call", want: "step_closed", commit: func(s *scene) error { return s.closedUnderCall() }},
		{name: "life/host closed under a call", want: "step_closed", commit: func(s *scene) error { return s.hostClosedUnderCall() }},
		{name: "life/closed twice, thrice, by many", commit: func(s *scene) error { return s.closedByMany() }},
		{name: "life/digest shared, one closes", commit: func(s *scene) error {
			return s.shared(func(bad *Instance, m *Module) error {
				s.close(bad)
				s.close(bad)
				return m.Close(s.Context())
			})
		}},
		{name: "life/digest shared, one traps", want: codeTrap, commit: func(s *scene) error {
			return s.shared(func(bad *Instance, _ *Module) error {
				return bad.Transform(s.Context(), batchOf("x"), &Result{})
			})
		}},
		{name: "life/digest shared, one spins", want: codeTimeout, commit: func(s *scene) error {
			return s.shared(func(bad *Instance, _ *Module) error {
				return bad.Transform(s.Context(), batchOf("x", "y", "z"), &Result{})
			})
		}},
		{name: "life/cache poisoned", commit: func(s *scene) error { return s.poisoned() }},
	}
}

func (s *scene) closedUnderCall() error {
	for _, c := range []ops{forever(), forever(i32(0), i32(0), i32(8<<20), fill), forever(i32(1), grow, drop)} {
		i, err := s.start(evil{pages: 160, does: map[int]ops{fnTransform: c}}, InstanceConfig{Time: time.Minute})
		if err != nil {
			return err
		}
		done := make(chan error, 1)
		go func() { done <- i.Transform(s.Context(), batchOf("x"), &Result{}) }()
		for i.mu.TryLock() {
			i.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
		began := processorTime(s.T) // which the guest takes all of, until it is told
		s.close(i)
		if took := processorTime(s.T) - began; took > 500*time.Millisecond {
			s.Errorf("closing took %v of the processor", took)
		}
		if err := <-done; !fault.HasCode(err, "step_closed") {
			return err
		}
		if err := i.Transform(s.Context(), batchOf("x"), &Result{}); !fault.HasCode(err, "step_closed") {
			return err
		}
	}
	i, err := s.start(evil{}, InstanceConfig{})
	if err != nil {
		return err
	}
	s.close(i)
	return i.Transform(s.Context(), batchOf("x"), &Result{})
}

// hostClosedUnderCall ends a host of its own while two guests spin in it.
func (s *scene) hostClosedUnderCall() error {
	h, err := NewHost(Options{Compile: CompileHere})
	if err != nil {
		return err
	}
	m, err := h.Load(s.Context(), stamp(s.T, evil{does: map[int]ops{fnTransform: forever()}}.bytes(), "evil"))
	if err != nil {
		return err
	}
	done := make(chan error, 2)
	for range cap(done) {
		i, err := m.Instantiate(s.Context(), InstanceConfig{Time: time.Minute})
		if err != nil {
			return err
		}
		go func() { done <- i.Transform(s.Context(), batchOf("x"), &Result{}) }()
		for i.mu.TryLock() {
			i.mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}
	if err := h.Close(s.Context()); err != nil {
		return err
	}
	if _, err := m.Instantiate(s.Context(), InstanceConfig{}); !fault.HasCode(err, "wasm_host_closed") {
		s.Errorf("an instance of a closed host: %v", err)
	}
	_ = m.Close(s.Context())
	if left := h.Stats(); !left.Empty() {
		s.Errorf("left %+v", left)
	}
	<-done
	return <-done
}

func (s *scene) closedByMany() error {
	for range 50 {
		i, err := s.start(evil{}, InstanceConfig{})
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_ = i.Transform(s.Context(), batchOf("x"), &Result{})
				s.close(i)
			})
		}
		all.Wait()
	}
	return nil
}

// shared runs two jobs on one module: it passes two rows, traps on one and
// spins on three. What becomes of one must not be felt by the other.
func (s *scene) shared(crime func(*Instance, *Module) error) error {
	rows := load32(batchRows)
	module := stamp(s.T, evil{does: map[int]ops{fnTransform: do(
		rows, i32(1), ops{0x46}, when(trap), rows, i32(3), ops{0x46}, when(forever()), passes())}}.bytes(), "evil")
	bad, err := s.load(module)
	if err != nil {
		return err
	}
	good, err := s.load(module)
	if err != nil {
		return err
	}
	work, err := good.Instantiate(s.Context(), InstanceConfig{})
	if err != nil {
		return err
	}
	defer s.close(work)
	i, err := bad.Instantiate(s.Context(), InstanceConfig{Time: sceneTime})
	if err != nil {
		return err
	}
	s.open = append(s.open, func() { s.close(i) })
	done := make(chan error, 1)
	go func() { done <- crime(i, bad) }()
	for n := 0; ; n++ {
		if err := work.Transform(s.Context(), batchOf("x", "y"), &Result{}); err != nil {
			s.Errorf("batch %d of the good job: %v", n, err)
		}
		select {
		case err := <-done:
			if err2 := work.Transform(s.Context(), batchOf("x", "y"), &Result{}); err2 != nil {
				s.Errorf("the good job, afterwards: %v", err2)
			}
			return err
		default:
		}
	}
}

// poisoned writes to the code cache behind the host's back. What is not the
// host's own must never be executed, and never stand in the way.
func (s *scene) poisoned() error {
	victim, other := evil{data: map[uint32][]byte{300: {1}}}, evil{data: map[uint32][]byte{300: {2}}}
	if err := s.runAndClose(InstanceConfig{}, other); err != nil {
		return err
	}
	foreign := s.entries()
	if err := s.runAndClose(InstanceConfig{}, victim); err != nil {
		return err
	}
	for name, poison := range map[string]func([]byte) []byte{
		"flipped": func(p []byte) []byte { p[len(p)/2] ^= 1; return p },
		"cut":     func(p []byte) []byte { return p[:len(p)/2] },
		"empty":   func([]byte) []byte { return nil },
		"zeros":   func(p []byte) []byte { clear(p); return p },
		"longer":  func(p []byte) []byte { return append(p, 0xcc) },
		"foreign": func([]byte) []byte {
			for _, p := range foreign {
				return p
			}
			return nil
		},
	} {
		for path, p := range s.entries() {
			if _, old := foreign[path]; !old {
				if err := os.WriteFile(path, poison(p), 0o600); err != nil {
					return err
				}
			}
		}
		for range 2 {
			if err := s.runAndClose(InstanceConfig{}, victim); err != nil {
				s.Errorf("%s: %v", name, err)
			}
		}
	}
	return nil
}

// entries are the files of the code cache.
func (s *scene) entries() map[string][]byte {
	all := map[string][]byte{}
	_ = filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[path], err = os.ReadFile(path)
		}
		return err
	})
	return all
}
