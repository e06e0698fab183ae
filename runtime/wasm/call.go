package wasm

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Codes of the faults that a guest call can end with.
const (
	codeTrap    = "step_trap"
	codeFuel    = "step_fuel"
	codeTimeout = "step_timeout"
	codeABI     = "step_abi"
	codeOutput  = "step_output"
)

// call calls the guest within what is left of the allowance. After an error the
// instance is broken: what a guest holds after a trap is anybody's guess.
func (i *Instance) call(ctx context.Context, f export, a, b uint64) (uint64, error) {
	limit, fuel := i.rest()
	return i.callFor(ctx, limit, fuel, f, a, b)
}

// callFor calls the guest within a time and, unless it is 0, some fuel.
func (i *Instance) callFor(ctx context.Context, limit time.Duration, fuel int64, f export, a, b uint64) (uint64, error) {
	if i.guest == nil {
		return 0, i.closedFault()
	}
	if i.broken != nil {
		return 0, i.broken
	}
	slice, err := i.ctx.begin(ctx, limit, fuel)
	if err != nil {
		return 0, i.notBegun(ctx, err)
	}
	i.guest.setFuel(slice)
	i.printed.begin()
	i.calls++
	v, err := i.guest.call(i.ctx, f, a, b)
	i.calls--
	used := i.ctx.granted - i.guest.fuelLeft()
	i.fuel += used
	i.arena.ledger.called(used, time.Since(i.ctx.began))
	if err != nil {
		return 0, i.explain(ctx, err)
	}
	return v, nil
}

// notBegun is the error of a call that was not made. The end of the caller's
// own context leaves the instance as good as it was.
func (i *Instance) notBegun(ctx context.Context, err error) error {
	if ctx.Err() != nil && i.ctx.err == nil {
		return err
	}
	return i.explain(ctx, err)
}

func (i *Instance) closedFault() error {
	return fault.New(fault.Fatal, "step_closed", i.config.path(), "start the pipeline again",
		"the instance of the connector %s is closed", i.code.manifest.Name)
}

// explain makes a fault of a call that did not return, and breaks the instance.
func (i *Instance) explain(ctx context.Context, err error) error {
	switch ended := i.ctx.err; {
	case ended == nil, ended == errDepth:
		if ended != nil {
			err = ended
		}
		i.broken = fault.New(fault.Poison, codeTrap, i.config.path(),
			"report it to the connector's author; on_error says what becomes of the row",
			"the connector %s crashed: %s", i.code.manifest.Name, i.trapText(err))
	case ended == errFuel:
		i.broken = fault.New(fault.Poison, codeFuel, i.config.path(),
			"raise limits.fuel of the step, or have the connector do less per row; on_error says what becomes of the row",
			"the connector %s used up the fuel of a batch, %d", i.code.manifest.Name, i.config.Fuel)
	case isFault(ended): // of the host's side of a capability
		i.broken = ended
	case ctx.Err() != nil:
		i.broken = context.Cause(ctx)
	case ended == context.DeadlineExceeded:
		i.broken = fault.New(fault.Fatal, codeTimeout, i.config.path(),
			"give the machine more room, raise limits.time of the step, or have the connector do less per row",
			"the connector %s did not return within %v", i.code.manifest.Name, i.allowed.limit)
	default:
		i.broken = i.closedFault()
	}
	return i.broken
}

func isFault(err error) bool {
	_, ok := errors.AsType[*fault.Fault](err)
	return ok
}

// trapText is the engine's first line and what the guest printed last.
func (i *Instance) trapText(err error) string {
	text, _, _ := strings.Cut(strings.TrimSuffix(err.Error(), "\n"), "\n")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "wasm error: "), " (recovered by wazero)")
	if i.arena.growthRefused() != nil {
		text += " (it was refused more memory before)"
	}
	if said := i.printed.lastWords(); said != "" {
		text += ": " + said
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// refusal makes a fault of a negative result, with the connector's own text.
func (i *Instance) refusal(ctx context.Context, code int64, class fault.Class, name, hint string) error {
	v, err := i.call(ctx, exportError, 0, 0)
	if err != nil {
		return err
	}
	addr, length := sdk.Unpack(int64(v))
	text, ok := i.guest.view(addr, min(length, sdk.ErrorBytesMax))
	if !ok {
		return i.violation("the text of its error lies outside its memory")
	}
	said := strings.ToValidUTF8(string(text), "\uFFFD")
	if said == "" {
		said = "no reason given"
	}
	return fault.New(class, name, i.config.path(), hint, "the connector %s: %w", i.code.manifest.Name,
		&sdk.Error{Code: sdk.ErrorCode(max(code, -1<<31)), Message: said})
}

// violation is the fault of a guest that breaks the ABI; the instance is of no
// more use.
func (i *Instance) violation(what string) error {
	i.broken = fault.New(fault.Fatal, codeABI, i.config.path(),
		"report it to the connector's author: docs/design/connector-abi.md says what is expected",
		"the connector %s breaks the ABI: %s", i.code.manifest.Name, what)
	return i.broken
}

// bufferStep is what guest buffers' sizes are multiples of, so that they are
// not asked for anew for every few bytes.
const bufferStep = 4 << 10

// fill writes p into the guest's buffer of the kind.
func (i *Instance) fill(ctx context.Context, kind uint32, p []byte) error {
	view, err := i.buffer(ctx, kind, len(p))
	if err != nil {
		return err
	}
	copy(view, p)
	return nil
}

// buffer returns the guest's buffer of the kind, grown to size bytes if need
// be. A view, good until the next call.
func (i *Instance) buffer(ctx context.Context, kind uint32, size int) ([]byte, error) {
	b := &i.bufs[kind]
	if int64(size) > i.config.MemoryBytesMax {
		return nil, fault.New(fault.Fatal, "memory_limit", i.config.path(), "raise limits.memory of the step",
			"a batch needs a buffer of %d bytes; the connector's limit is %d", size, i.config.MemoryBytesMax)
	}
	if int(b.size) < size {
		size = (size + bufferStep - 1) / bufferStep * bufferStep
		v, err := i.call(ctx, exportBuf, uint64(kind), uint64(size))
		if err != nil {
			return nil, err
		}
		*b = buffer{uint32(v), uint32(size)}
		if b.addr == 0 || b.addr%8 != 0 {
			return nil, i.violation("cdcd_buf gave an address that is 0 or not a multiple of 8")
		}
	}
	view, ok := i.guest.view(b.addr, b.size)
	if !ok {
		return nil, i.violation("cdcd_buf gave a buffer outside its memory")
	}
	return view, nil
}
