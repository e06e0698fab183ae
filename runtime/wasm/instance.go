package wasm

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
)

// Defaults and bounds of an instance.
const (
	MemoryBytesDefault = 64 << 20
	MemoryBytesMax     = 1 << 30
	TimeDefault        = 5 * time.Second
	startTimeMin       = 10 * time.Second // _initialize and init may take this long whatever Time says

	// OutputBytesDefault bounds what one batch may become.
	OutputBytesDefault = 16 << 20
)

// InstanceConfig says what an instance is for and what it may use.
type InstanceConfig struct {
	Pipeline, Step string
	Config         []byte // JSON of `with:`; empty is {}
	// MemoryBytesMax bounds its memory; 0 is MemoryBytesDefault.
	MemoryBytesMax int64
	// Time bounds all calls for one batch together, wall time; 0 is TimeDefault.
	Time time.Duration
	// Fuel bounds what all calls for one batch may do, in units of which an instruction takes
	// one or more (package meter); 0 for no bound. The start of an instance is bounded
	// by time alone. Unlike time, it is the same on every machine.
	Fuel int64
	// OutputBytesMax bounds the bytes that one batch may become; 0 is OutputBytesDefault.
	OutputBytesMax int
	// Capabilities are those that the configuration grants, such as "log".
	Capabilities []string
	// KV is what the step has kept, for the capability kv; nil for nothing, and
	// nothing is kept then.
	KV KV
	// KVBytesMax bounds it; 0 is KVBytesDefault.
	KVBytesMax int64
	// Secrets are those that the connector may ask for by name.
	Secrets map[string]unit.Secret
	// Metrics take what the connector counts; nil for its own.
	Metrics *Metrics
	Log     *slog.Logger // nil for the host's

	overlay *overlay // of the Step that the instance belongs to; nil for its own
}

// Instance is a connector at work: its memory, its function handles, its
// clock. It is used by one goroutine at a time; Close and MemoryBytes may be
// called from any.
type Instance struct {
	host   *Host
	code   *code
	config InstanceConfig
	arena  *arena
	ctx    *callContext

	mu      sync.Mutex // held during guest calls
	guest   guest      // nil once closed
	allowed allowance  // of the batch in hand
	broken  error      // why it can't be called any more
	bufs    [3]buffer  // by sdk.BufConfig...
	schemas schemas

	clock   virtualClock
	own     bool // it has used something that is its job's, so that it can't be a snapshot
	printed printed
	surroundings

	receipt Receipt
	closed  bool
	calls   int   // running; for the receipt
	fuel    int64 // used by all calls
}

// buffer is where the guest keeps one kind of input.
type buffer struct{ addr, size uint32 }

// Instantiate makes and configures an instance. The error is a fault:
// capability_not_granted, memory_limit, step_config (what the connector says
// against its configuration), step_start or step_timeout.
func (m *Module) Instantiate(ctx context.Context, c InstanceConfig) (*Instance, error) {
	h := m.host
	if err := m.checkGrants(c); err != nil {
		return nil, err
	}
	c = c.withDefaults(h.log)
	if need := int64(m.code.vetted.memoryPagesMin) * pageBytes; need > c.MemoryBytesMax {
		return nil, fault.New(fault.Config, "memory_limit", c.path(), "raise limits.memory of the step",
			"the connector begins with %d bytes of memory; its limit is %d", need, c.MemoryBytesMax)
	}
	i := &Instance{host: h, code: m.code, config: c, arena: &arena{limit: c.MemoryBytesMax}}
	i.ctx = &callContext{inst: i}
	i.surround()
	i.pcg.Seed(m.code.seed())
	i.printed = printed{log: c.Log.With("pipeline", c.Pipeline, "step", c.Step), now: time.Now}
	if err := h.adopt(i); err != nil {
		return nil, err
	}
	if err := i.start(ctx); err != nil {
		_, _ = i.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return i, nil
}

func (c InstanceConfig) withDefaults(log *slog.Logger) InstanceConfig {
	if c.MemoryBytesMax == 0 {
		c.MemoryBytesMax = MemoryBytesDefault
	}
	c.MemoryBytesMax = min(c.MemoryBytesMax, MemoryBytesMax)
	if c.Time == 0 {
		c.Time = TimeDefault
	}
	if c.OutputBytesMax == 0 {
		c.OutputBytesMax = OutputBytesDefault
	}
	if len(c.Config) == 0 {
		c.Config = []byte("{}")
	}
	if c.Log == nil {
		c.Log = log
	}
	return c
}

func (c InstanceConfig) path() string { return c.Pipeline + "/" + c.Step }

// checkGrants refuses a module that imports what the configuration does not grant.
func (m *Module) checkGrants(c InstanceConfig) error {
	for _, grant := range m.Imports() {
		if !slices.Contains(m.code.manifest.Capabilities, grant) {
			return fault.New(fault.Config, "capability_not_declared", c.path(),
				"list the capability in the connector's manifest.json and build it anew",
				"the connector %s imports the capability %q, which its manifest does not list", m.code.manifest.Name, grant)
		}
		if !slices.Contains(c.Capabilities, grant) {
			return fault.New(fault.Config, "capability_not_granted", c.path(),
				"add the capability to the step: allow: ["+grant+"]",
				"the connector %s needs the capability %q, which the step does not grant", m.code.manifest.Name, grant)
		}
	}
	return nil
}

// adopt files an instance, so that Host.Close finds it, and takes a reference
// to its code.
func (h *Host) adopt(i *Instance) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fault.New(fault.Fatal, "wasm_host_closed", i.config.path(), "start the daemon again", "the WebAssembly host is closed")
	}
	if i.code.refs == 0 {
		return fault.New(fault.Fatal, "step_closed", i.config.path(), "load the module again", "the module of the connector %s is closed", i.code.manifest.Name)
	}
	i.code.refs++
	h.instances[i] = struct{}{}
	i.arena.ledger = h.ledgerOf(i.config.Pipeline, i.config.Step)
	i.arena.ledger.count(1)
	return nil
}

// start brings the guest up, with or without a snapshot, and gives it its
// configuration.
func (i *Instance) start(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	limit := max(i.config.Time, startTimeMin)
	if err := i.rise(ctx, limit); err != nil {
		return err
	}
	i.pcg.Seed(i.seed[0], i.seed[1])
	if err := i.fill(ctx, sdk.BufConfig, i.config.Config); err != nil {
		return i.failStart(err)
	}
	v, err := i.call(ctx, exportInit, uint64(len(i.config.Config)), 0)
	if err != nil {
		return i.failStart(err)
	}
	if int64(v) < 0 {
		return i.failStart(i.refusal(ctx, int64(v), fault.Config, "step_config", "change `with:` of the step as the message says"))
	}
	return nil
}

// failStart is the fault of an instance that did not come up.
func (i *Instance) failStart(err error) error {
	if f := fault.Of(err); f.Code != "unexpected" && f.Code != codeTrap {
		return err
	}
	if r := i.arena.growthRefused(); r != nil {
		return r.fault(i.config.path(), err)
	}
	return fault.New(fault.Config, "step_start", i.config.path(), "ask the connector's author; the message is the connector's last words",
		"the connector %s did not start: %w", i.code.manifest.Name, err)
}

// MemoryBytes returns the memory that the guest has opened.
func (i *Instance) MemoryBytes() int64 { return i.arena.opened.Load() }

// Err returns why the instance can't be called any more: a fault, or nil.
func (i *Instance) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.broken
}
