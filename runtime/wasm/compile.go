package wasm

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/wasm/apart"
	"github.com/cdcd-io/cdcd/runtime/wasm/codecache"
)

// Compiling says where modules are compiled.
type Compiling uint8

const (
	// CompileApart compiles in a limited child process: this program, started
	// with CompileVerb, which has to call ServeCompile.
	CompileApart Compiling = 1 + iota
	// CompileHere compiles in this process, and is for modules that are trusted:
	// a hostile one can take all memory and minutes of processor time.
	CompileHere
)

// CompileVerb is the first argument of a child that compiles.
const CompileVerb = "compile-module"

// CompileLimits bound the child that compiles a module. Zero fields stand for
// the defaults.
type CompileLimits struct {
	MemoryBytes int64         // 0 is the smaller of 1 GiB and half of what is left, but not less than 192 MiB
	CPU         time.Duration // of all threads; 0 is 60 s
	Wall        time.Duration // 0 is 3 min
}

const (
	compileMemoryMax  = 1 << 30
	compileMemoryMin  = 192 << 20 // the largest connectors of ours need less
	compileCPU        = time.Minute
	compileWall       = 3 * time.Minute
	codeBytesMax      = 256 << 20 // code is some four times the module, which has 32 MiB at most
	compileWorkersMax = 4         // goroutines of one compilation
)

// CompileStats count a Host's work to get machine code.
type CompileStats struct {
	Cache    codecache.Stats `json:"cache"`
	Compiled int64           `json:"compiled"`  // modules
	Failed   int64           `json:"failed"`    // refused by the compiler, or over a limit
	Time     time.Duration   `json:"time"`      // spent compiling, children's starts included
	LoadTime time.Duration   `json:"load_time"` // spent loading code from the cache
}

// compiler gets programs: from the cache, or compiled.
type compiler struct {
	log    *slog.Logger
	cache  *codecache.Cache
	runner *apart.Runner // nil to compile here
	limits CompileLimits
	engine string        // its version
	slots  chan struct{} // one for each child that may run

	promised                           atomic.Int64 // bytes that running children may take
	compiled, failed, nanos, loadNanos atomic.Int64
	reported                           sync.Once
}

func newCompiler(o Options, log *slog.Logger) (*compiler, error) {
	c := &compiler{log: log, limits: o.CompileLimits, engine: engineVersion(),
		slots: make(chan struct{}, min(runtime.GOMAXPROCS(0), compileWorkersMax))}
	var err error
	switch o.Compile {
	case CompileApart:
		if c.runner, err = apart.Self(CompileVerb); err != nil {
			return nil, fault.New(fault.Environment, "module_compiler", "", compilerHint, "this program can't be started again: %w", err)
		}
	case CompileHere:
	default:
		return nil, errors.New("wasm.Options.Compile: say where modules are compiled, apart or here")
	}
	bytesMax := o.CacheBytesMax
	if bytesMax == 0 {
		bytesMax = 1 << 30
	}
	c.cache, err = codecache.Open(codecache.Options{Dir: o.CacheDir, BytesMax: bytesMax, Log: log})
	if err != nil {
		return nil, cacheFault(o.CacheDir, err)
	}
	return c, nil
}

func cacheFault(dir string, err error) error {
	hint := "make the directory writable for the user that runs cdcd"
	if d, ok := errors.AsType[*codecache.DirError](err); ok {
		hint = d.Hint
	}
	return fault.New(fault.Environment, "code_cache", dir, hint, "%w", err)
}

const compilerHint = "look at the log and at the machine: modules are compiled in a child process of cdcd's"

// codeVersion is what machine code depends on besides the module: change it when
// compile changes.
const codeVersion = "cdcd code 1\n"

// key names the code of a metered module. The engine is in it by its version
// and by this machine's architecture; features of the processor are not, a miss
// of load finds them.
func (c *compiler) key(module []byte) codecache.Key {
	h := sha256.New()
	fmt.Fprintf(h, "%s%s\n%s/%s\n%d\n", codeVersion, c.engine, runtime.GOOS, runtime.GOARCH, memoryPagesMax)
	_, _ = h.Write(module)
	return codecache.Key(h.Sum(nil))
}

// program returns a metered module's program and the size of its code. ctx ends
// a compilation apart. The error is a fault or ctx's cause.
func (c *compiler) program(ctx context.Context, module []byte) (program, int64, error) {
	key := c.key(module)
	if code := c.cache.Get(key); code != nil {
		began := time.Now()
		p, size, err := c.load(ctx, module, code)
		if err == nil {
			c.loadNanos.Add(int64(time.Since(began)))
			return p, size, nil
		}
		c.log.Warn("compiled code does not fit, it is made anew", "err", err)
		c.cache.Remove(key)
	}
	began := time.Now()
	p, size, err := c.compile(ctx, key, module)
	if err != nil {
		c.failed.Add(1)
		return nil, 0, err
	}
	c.compiled.Add(1)
	c.nanos.Add(int64(time.Since(began)))
	return p, size, nil
}

// load makes a program of code, and gives the copy back.
func (c *compiler) load(ctx context.Context, module []byte, code *codecache.Copy) (program, int64, error) {
	defer code.Close()
	p, err := loadCode(context.WithoutCancel(ctx), module, code.Dir())
	if err != nil {
		return nil, 0, err
	}
	return p, code.Size(), nil
}

func (c *compiler) compile(ctx context.Context, key codecache.Key, module []byte) (program, int64, error) {
	if c.runner == nil {
		return c.compileHere(context.WithoutCancel(ctx), key, module)
	}
	code, err := c.compileApart(ctx, module)
	if err != nil {
		return nil, 0, err
	}
	if err := c.cache.Put(key, code); err != nil {
		c.log.Warn("compiled code is not kept", "err", err)
	}
	p, size, err := c.load(ctx, module, code)
	if err != nil {
		return nil, 0, fault.New(fault.Environment, "module_compiler", "", compilerHint, "the code that was compiled just now does not load: %w", err)
	}
	return p, size, nil
}

// compileHere compiles in this process, elsewhere when the disk is full.
func (c *compiler) compileHere(ctx context.Context, key codecache.Key, module []byte) (program, int64, error) {
	if !c.cache.Keeps() {
		p, err := compile(ctx, module, "")
		if err != nil {
			return nil, 0, invalid(err)
		}
		return p, 0, nil
	}
	var errs []error
	for try := 0; ; try++ {
		dir, remove, err := c.cache.Scratch(try)
		if err == nil {
			p, size, cerr := c.compileIn(ctx, key, module, dir)
			remove()
			if cerr == nil {
				return p, size, nil
			}
			if err = cerr; !isWriting(err) {
				return nil, 0, invalid(err)
			}
		}
		errs = append(errs, err)
		if errors.Is(err, codecache.ErrNoPlace) {
			return nil, 0, fault.New(fault.Environment, "module_compiler", "", compilerHint, "%w", errors.Join(errs...))
		}
	}
}

// compileIn compiles in this process, with dir to write to, and files the code.
func (c *compiler) compileIn(ctx context.Context, key codecache.Key, module []byte, dir string) (program, int64, error) {
	p, err := compile(ctx, module, dir)
	if err != nil {
		return nil, 0, err
	}
	size, err := c.keep(key, dir)
	if err != nil {
		c.log.Warn("compiled code is not kept", "err", err)
	}
	return p, size, nil
}

// keep files what a compilation here left in dir.
func (c *compiler) keep(key codecache.Key, dir string) (int64, error) {
	name, err := codeFile(dir)
	if err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	code, err := c.cache.NewCopy()
	if err != nil {
		return 0, err
	}
	defer code.Close()
	if err := code.Place(filepath.ToSlash(name), f); err != nil {
		return 0, err
	}
	return code.Size(), c.cache.Put(key, code)
}

func invalid(err error) error {
	return fault.New(fault.Config, "module_invalid", "", "build the connector anew with an up-to-date toolchain",
		"the module can't be compiled: %w", err)
}

// compiledHead is the first line of a child's answer; the code follows.
type compiledHead struct {
	Name    string `json:"name,omitempty"`    // of the file that the engine looks for
	Invalid string `json:"invalid,omitempty"` // why the module can't be compiled
	Failed  string `json:"failed,omitempty"`  // why it could not be done
}

// compileApart has a child compile the module, elsewhere when the disk is full.
func (c *compiler) compileApart(ctx context.Context, module []byte) (*codecache.Copy, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.slots }()
	limits := c.childLimits()
	defer c.promised.Add(-limits.MemoryBytes)
	var errs []error
	for try := 0; ; try++ {
		code, err := c.compileOnce(ctx, try, limits, module)
		if err == nil {
			return code, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, errWriting) {
			return nil, c.compileFault(ctx, errors.Join(errs...))
		}
	}
}

// errWriting is an error of the place, not of the module.
var errWriting = errors.New("compiled code can't be written")

func (c *compiler) compileOnce(ctx context.Context, try int, limits apart.Limits, module []byte) (*codecache.Copy, error) {
	dir, remove, err := c.cache.Scratch(try)
	if errors.Is(err, codecache.ErrNoPlace) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWriting, err)
	}
	defer remove()
	code, err := c.cache.NewCopy()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	use, err := c.runner.Run(ctx, dir, limits, module, func(r io.Reader) error { return takeCode(r, code) })
	if err != nil {
		code.Close()
		return nil, err
	}
	c.log.Info("module compiled", "module_bytes", len(module), "code_bytes", code.Size(), "took", time.Since(began),
		"cpu", use.CPU, "memory_bytes_peak", use.PeakBytes)
	c.reported.Do(func() {
		if refused, _ := c.runner.Refusals(); len(refused) > 0 {
			c.log.Info("the system refuses some confinement of the compiler", "refused", refused)
		}
	})
	return code, nil
}

// errInvalid is a module that the engine refuses.
type errInvalid string

func (e errInvalid) Error() string { return string(e) }

// takeCode reads a child's answer.
func takeCode(r io.Reader, code *codecache.Copy) error {
	in := bufio.NewReader(r)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	var head compiledHead
	if err := json.Unmarshal(line, &head); err != nil {
		return err
	}
	if head.Invalid != "" {
		return errInvalid(head.Invalid)
	}
	if head.Failed != "" {
		return fmt.Errorf("%w: %s", errWriting, head.Failed)
	}
	return code.Place(head.Name, in)
}

// childLimits decides what the next child may take. What it promises is to be
// given back.
func (c *compiler) childLimits() apart.Limits {
	l := apart.Limits{MemoryBytes: c.limits.MemoryBytes, FileBytes: codeBytesMax, CPU: c.limits.CPU, Wall: c.limits.Wall}
	if l.CPU == 0 {
		l.CPU = compileCPU
	}
	if l.Wall == 0 {
		l.Wall = compileWall
	}
	if l.MemoryBytes == 0 {
		l.MemoryBytes = max(min((apart.MemoryLeft()-c.promised.Load())/2, compileMemoryMax), compileMemoryMin)
	}
	c.promised.Add(l.MemoryBytes)
	return l
}

// compileFault makes a fault of what went wrong in a child.
func (c *compiler) compileFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*apart.ExceededError](err); ok {
		hint := "a module this costly to compile is hostile or generated: build it with smaller functions"
		if e.Limit == apart.LimitMemory {
			hint += ", or give cdcd more memory: compiling may take half of what is left, up to " + unit.Bytes(compileMemoryMax).String()
		}
		return fault.New(fault.Config, "module_compile_limit", "", hint, "compiling the module takes too much: %w", e)
	}
	if e, ok := errors.AsType[errInvalid](err); ok {
		return invalid(e)
	}
	if e, ok := errors.AsType[*apart.DiedError](err); ok && strings.Contains(e.Text, "panic: ") {
		return invalid(err)
	}
	return fault.New(fault.Environment, "module_compiler", "", compilerHint, "the module could not be compiled: %w", err)
}

func (c *compiler) stats() CompileStats {
	return CompileStats{Cache: c.cache.Stats(), Compiled: c.compiled.Load(), Failed: c.failed.Load(),
		Time: time.Duration(c.nanos.Load()), LoadTime: time.Duration(c.loadNanos.Load())}
}

func (c *compiler) close() error { return c.cache.Close() }
