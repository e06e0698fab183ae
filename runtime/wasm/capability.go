package wasm

import (
	"log/slog"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

// capability is a host module that a connector imports and a configuration
// grants. Without functions it is known and not offered.
type capability struct {
	grant string
	funcs map[string]hostFunc
}

// capabilities are those of cdcd-abi-1, by module name.
var capabilities = map[string]capability{
	sdk.ModuleLog:     {"log", map[string]hostFunc{"write": logWrite}},
	sdk.ModuleMetrics: {"metrics", nil},
	sdk.ModuleKV:      {"kv", nil},
	sdk.ModuleHTTP:    {"http", nil},
	sdk.ModuleClock:   {"clock", nil},
	sdk.ModuleRandom:  {"random", nil},
	sdk.ModuleSecret:  {"secret", nil},
	sdk.ModuleValue:   {"value", nil},
}

// logWrite answers (level, address, length).
func logWrite(i *Instance, mem []byte, stack []uint64) {
	if p := at(mem, stack[1], stack[2]); p != nil {
		i.printed.line(slog.Level(int32(uint32(stack[0]))), p)
	}
}

func names(list string) map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Fields(list) {
		m[n] = true
	}
	return m
}
