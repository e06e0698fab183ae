package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/wasm/apart"
	"github.com/cdcd-io/cdcd/runtime/wasm/meter"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// Options configure a Host.
type Options struct {
	// Compile says where modules are compiled, and must be set.
	Compile Compiling
	// CompileLimits bound a child that compiles.
	CompileLimits CompileLimits
	// CacheDir keeps compiled code from one run to the next; empty for none. It
	// holds executable code, and nobody else may write to it.
	CacheDir string
	// CacheBytesMax bounds CacheDir; 0 is 1 GiB.
	CacheBytesMax int64
	// MemoryBytesMax bounds the memory of all guests together; 0 is 4 GiB.
	MemoryBytesMax int64
	Log            *slog.Logger // nil for none
}

// Host owns all loaded modules and instances of a daemon. It is safe for
// concurrent use. Its goroutines are those of loads that are under way.
type Host struct {
	log      *slog.Logger
	compiler *compiler
	memory   ledger

	mu        sync.Mutex
	codes     map[string]*code // by digest
	instances map[*Instance]struct{}
	collect   *time.Timer // armed while unloaded code waits for the collector
	closed    bool
}

// NewHost returns a Host. The error is a fault of class Environment when the
// cache's directory can't be made.
func NewHost(o Options) (*Host, error) {
	h := &Host{log: o.Log, codes: map[string]*code{}, instances: map[*Instance]struct{}{}}
	h.memory.most = o.MemoryBytesMax
	if h.memory.most == 0 {
		h.memory.most = 4 << 30
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if h.compiler, err = newCompiler(o, h.log); err != nil {
		return nil, err
	}
	return h, nil
}

// code is a compiled module, shared by all that load the same bytes.
type code struct {
	digest   string
	manifest sdk.Manifest
	vetted   *vetted
	ready    chan struct{} // closed once program or err is there
	program  program
	err      error
	size     int64                   // bytes of the cache's entry: machine code and its tables
	cancel   context.CancelCauseFunc // ends the preparation when nobody waits for it any more
	refs     int                     // under Host.mu
}

// Load vets a module and makes it ready to run: compiled, or from the cache.
// The Module must be closed. When ctx ends, and nobody else waits for the same
// bytes, the compiler's process is killed, and has ended when Load returns. Loading the same bytes again is cheap, and shares
// the code. The error is a fault: module_not_wasm, module_too_large,
// module_refused, module_unsupported, module_lacks_manifest, module_manifest, module_lacks_abi,
// module_import_denied, capability_unavailable or module_invalid.
func (h *Host) Load(ctx context.Context, module []byte) (*Module, error) {
	sum := sha256.Sum256(module)
	digest := hex.EncodeToString(sum[:])
	c, err := h.acquire(ctx, digest, module)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), h.drop(context.WithoutCancel(ctx), c))
	}
	if c.err != nil {
		_ = h.drop(ctx, c)
		return nil, c.err
	}
	return &Module{host: h, code: c}, nil
}

func errHostClosed() error {
	return fault.New(fault.Fatal, "wasm_host_closed", "", "start the daemon again", "the WebAssembly host is closed")
}

// acquire finds the code of a digest, or files it and begins to prepare it. The
// preparation is everybody's who waits, so it does not end with ctx.
func (h *Host) acquire(ctx context.Context, digest string, module []byte) (*code, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errHostClosed()
	}
	c := h.codes[digest]
	if c == nil {
		c = &code{digest: digest, ready: make(chan struct{})}
		h.codes[digest] = c
		ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		go func() {
			defer close(c.ready)
			h.prepare(ctx, c, module)
		}()
	}
	c.refs++
	return c, nil
}

// prepare does the work of Load, once per digest.
func (h *Host) prepare(ctx context.Context, c *code, module []byte) {
	if c.vetted, c.err = vet(module); c.err != nil {
		return
	}
	if c.manifest, c.err = readManifest(module); c.err != nil {
		return
	}
	if c.err = checkABI(c.vetted); c.err != nil {
		return
	}
	metered, err := meter.Rewrite(module, policyOf(&c.vetted.survey).bodies)
	if err != nil {
		c.err = err
		return
	}
	c.program, c.size, c.err = h.compiler.program(ctx, metered)
}

func readManifest(module []byte) (sdk.Manifest, error) {
	m, err := manifest.Read(module)
	switch {
	case errors.Is(err, manifest.ErrMissing):
		return m, fault.New(fault.Config, "module_lacks_manifest", "",
			"write a manifest.json and put it in with: go run github.com/cdcd-io/cdcd/sdk/manifest/stamp MODULE.wasm manifest.json", "%w", err)
	case err != nil:
		return m, fault.New(fault.Config, "module_manifest", "", "mend the manifest as docs/design/connector-abi.md has it and stamp it anew", "%w", err)
	}
	return m, nil
}

// drop gives up one reference; the last one closes the program.
func (h *Host) drop(ctx context.Context, c *code) error {
	h.mu.Lock()
	c.refs--
	last := c.refs == 0
	if last && h.codes[c.digest] == c {
		delete(h.codes, c.digest)
	}
	h.mu.Unlock()
	if !last {
		return nil
	}
	c.cancel(nil)
	<-c.ready
	if c.program == nil {
		return nil
	}
	err := c.program.close(ctx)
	h.collectSoon()
	return err
}

// collectDelay lets several unloads share one collection.
const collectDelay = 500 * time.Millisecond

// collectSoon has the collector run shortly: wazero unmaps machine code in a
// finalizer, and nothing else says when.
func (h *Host) collectSoon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.collect == nil && !h.closed {
		h.collect = time.AfterFunc(collectDelay, func() {
			h.mu.Lock()
			h.collect = nil
			h.mu.Unlock()
			runtime.GC()
		})
	}
}

// Stats is what a Host holds.
type Stats struct {
	Modules     int   `json:"modules"`
	Instances   int   `json:"instances"`
	Mappings    int   `json:"mappings"`     // guest memories mapped
	MemoryBytes int64 `json:"memory_bytes"` // of guests, open to them
	CodeBytes   int64 `json:"code_bytes"`   // of loaded modules, as the cache keeps them
}

// Stats returns what the host holds now.
func (h *Host) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Modules: len(h.codes), Instances: len(h.instances),
		Mappings: int(h.memory.mappings.Load()), MemoryBytes: h.memory.committed.Load()}
	for _, c := range h.codes {
		select {
		case <-c.ready:
			s.CodeBytes += c.size
		default:
		}
	}
	return s
}

// CompileStats returns what getting machine code took so far.
func (h *Host) CompileStats() CompileStats { return h.compiler.stats() }

// Confinement lists what the system refuses the child that compiles; known is
// false when none has run yet.
func (h *Host) Confinement() (refused []apart.Refusal, known bool) {
	if h.compiler.runner == nil {
		return nil, false
	}
	return h.compiler.runner.Refusals()
}

// Close ends all loads and all instances, waiting for calls that are running to
// be cancelled, and lets go of their code. Nothing can be loaded afterwards.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	if h.collect != nil {
		h.collect.Stop()
		h.collect = nil
	}
	open := make([]*Instance, 0, len(h.instances))
	for i := range h.instances {
		open = append(open, i)
	}
	loads := slices.Collect(maps.Values(h.codes))
	h.mu.Unlock()
	for _, c := range loads {
		c.cancel(errHostClosed())
		<-c.ready
	}
	var errs []error
	for _, i := range open {
		_, err := i.Close(ctx)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, h.compiler.close())...)
}
