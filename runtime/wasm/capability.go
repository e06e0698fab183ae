package wasm

import (
	"log/slog"

	"github.com/cdcd-io/cdcd/sdk"
)

// capability is a host module that a connector imports and a configuration
// grants. Without functions it is known and not offered.
type capability struct {
	grant string
	funcs map[string]offered
}

// offered is a function of a capability. Its type is written as one letter for
// each value, "ii:I" for (i32, i32) -> i64; i is i32, I is i64, F is f64.
type offered struct {
	call hostFunc
	kind string
}

// capabilities are those of cdcd-abi-1, by module name.
var capabilities = map[string]capability{
	sdk.ModuleLog: {"log", map[string]offered{"write": {logWrite, "iii:"}}},
	sdk.ModuleMetrics: {"metrics", map[string]offered{
		"declare": {metricsDeclare, "iiiii:i"}, "add": {metricsAdd, "iF:i"}, "set": {metricsSet, "iF:i"},
		"observe": {metricsObserve, "iF:i"}}},
	sdk.ModuleKV: {"kv", map[string]offered{
		"get": {kvGet, "iiii:i"}, "put": {kvPut, "iiiii:i"}, "delete": {kvDelete, "iii:i"},
		"scan": {kvScan, "iiiiii:I"}, "undo": {kvUndo, "i:i"}}},
	sdk.ModuleHTTP:   {"http", nil},
	sdk.ModuleClock:  {"clock", map[string]offered{"wall": {clockWall, ":I"}, "monotonic": {clockMonotonic, ":I"}}},
	sdk.ModuleRandom: {"random", map[string]offered{"fill": {randomFill, "ii:i"}}},
	sdk.ModuleSecret: {"secret", map[string]offered{"get": {secretGet, "iiii:i"}}},
	sdk.ModuleValue:  {"value", map[string]offered{"read": {valueRead, "iiii:i"}}},
}

// callFuel is what each call of a host function costs, beside its bytes.
const callFuel = 100

// reply sets what a capability's function returns: 0 or more, or a code below 0.
func reply(stack []uint64, v int) { stack[0] = uint64(uint32(int32(v))) }

// give copies a value into the guest's buffer if it fits, and answers with its
// length either way.
func (i *Instance) give(mem []byte, stack []uint64, value []byte, addr, length uint64) {
	to := at(mem, addr, length)
	if to == nil {
		reply(stack, sdk.CapInvalid)
		return
	}
	if len(value) <= len(to) {
		copy(to, value)
		i.ctx.pay(len(value))
	}
	reply(stack, len(value))
}

// logWrite answers (level, address, length).
func logWrite(i *Instance, mem []byte, stack []uint64) {
	if p := at(mem, stack[1], stack[2]); p != nil {
		i.ctx.pay(min(len(p), lineBytesMax))
		i.printed.line(slog.Level(int32(uint32(stack[0]))), p)
	}
}

// clockWall answers () with the commit time of the batch, nanoseconds since the
// Unix epoch.
func clockWall(i *Instance, _ []byte, stack []uint64) { stack[0] = uint64(i.clock.wall) }

// clockMonotonic answers () with virtual nanoseconds.
func clockMonotonic(i *Instance, _ []byte, stack []uint64) { stack[0] = uint64(i.clock.read()) }

// randomFill answers (address, length).
func randomFill(i *Instance, mem []byte, stack []uint64) {
	p := at(mem, stack[0], stack[1])
	if p == nil {
		reply(stack, sdk.CapInvalid)
		return
	}
	i.fillRandom(p)
	reply(stack, 0)
}

// secretGet answers (name, name length, buffer, buffer length) with the
// secret's length.
func secretGet(i *Instance, mem []byte, stack []uint64) {
	name := at(mem, stack[0], stack[1])
	if name == nil {
		reply(stack, sdk.CapInvalid)
		return
	}
	i.ctx.pay(len(name)) // to be hashed
	secret, ok := i.config.Secrets[string(name)]
	if !ok {
		reply(stack, sdk.CapNotFound)
		return
	}
	i.give(mem, stack, []byte(secret.Reveal()), stack[2], stack[3])
}
