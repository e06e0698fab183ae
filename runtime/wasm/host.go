package wasm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
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
	// PipelineBytesMax bounds the memory of one pipeline's guests together; 0 is
	// half of MemoryBytesMax.
	PipelineBytesMax int64
	// Idle is how long code stays loaded that nobody uses, so that a pipeline that
	// begins anew does not load it again; 0 for not at all.
	Idle time.Duration
	Log  *slog.Logger // nil for none
}

// Host owns all loaded modules and instances of a daemon. It is safe for
// concurrent use. Its goroutines are those of loads that are under way, and of
// what was unloaded (see unloads); they end with Close.
type Host struct {
	log      *slog.Logger
	compiler *compiler
	memory   ledger // of all guests, and snapshots
	guests   ledger // in it, all pipelines
	shared   ledger // in it, snapshots
	idle     time.Duration

	mu        sync.Mutex
	codes     map[string]*code // by digest
	instances map[*Instance]struct{}
	accounts  map[string]*account // by pipeline
	retired   []*account          // those without instances, the oldest first
	unloads   unloads
	closed    bool

	pipelineBytesMax int64
}

// NewHost returns a Host. The error is a fault of class Environment when the
// cache's directory can't be made.
func NewHost(o Options) (*Host, error) {
	h := &Host{log: o.Log, idle: o.Idle, codes: map[string]*code{}, instances: map[*Instance]struct{}{}, accounts: map[string]*account{}}
	h.memory.whose, h.memory.bytesMax = "the daemon", cmp.Or(o.MemoryBytesMax, 4<<30)
	h.memory.mapsMax = systemMapsMax() * 3 / 4
	h.guests.within, h.shared.within = &h.memory, &h.memory
	h.pipelineBytesMax = cmp.Or(o.PipelineBytesMax, h.memory.bytesMax/2)
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
	image    *meter.Image            // how the module begins; nil if it does so by itself
	origin   origin
	spans    []span    // machine code, in the process's memory
	refs     int       // under Host.mu
	idleFrom time.Time // when refs became 0, under Host.mu
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
	if c != nil && c.refs == 0 {
		h.unloads.unpark(c)
	}
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
	metered, image, why, err := meter.RewriteSplit(module, policyOf(&c.vetted.survey).bodies)
	if err != nil {
		c.err = err
		return
	}
	c.begins(image, why)
	if c.program, c.size, c.err = h.compiler.program(ctx, metered); c.err == nil {
		c.spans = c.program.spans()
	}
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
