package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/wasm/codecache"
)

// smallest is a module of one function that does nothing: enough to compile.
const smallest = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x0a\x04\x01\x02\x00\x0b"

// Examine looks at how this program compiles connectors here: whether the
// directory of compiled code can be trusted, whether the compiler's child
// process works, and what the system refuses of its confinement. It keeps
// nothing. The program must know CompileVerb.
func Examine(ctx context.Context, cacheDir string) []checkup.Result {
	return append([]checkup.Result{examineCache(cacheDir)}, examineCompiler(ctx)...)
}

func examineCache(dir string) checkup.Result {
	const check = "code_cache"
	err := codecache.Check(dir)
	if errors.Is(err, os.ErrNotExist) {
		return checkup.Ok(check, "%s will be made", dir)
	}
	if err != nil {
		f := fault.Of(cacheFault(dir, err))
		return checkup.Result{Check: check, Level: checkup.Failed, Found: dir, Why: f.Err.Error(), Fix: []string{f.Hint}}
	}
	return checkup.Ok(check, "%s is this user's alone", dir)
}

func examineCompiler(ctx context.Context) []checkup.Result {
	const check = "compiler"
	failed := func(err error) []checkup.Result {
		f := fault.Of(err)
		return []checkup.Result{{Check: check, Level: checkup.Failed, Found: "connectors can't be compiled", Why: f.Error(), Fix: []string{f.Hint}}}
	}
	h, err := NewHost(Options{Compile: CompileApart, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return failed(err)
	}
	defer h.Close(ctx)
	limits := h.compiler.childLimits()
	h.compiler.promised.Add(-limits.MemoryBytes)
	code, err := h.compiler.compileApart(ctx, []byte(smallest))
	if err != nil {
		return failed(err)
	}
	code.Close()
	results := []checkup.Result{checkup.Ok(check, "connectors are compiled in a process of their own, of at most %v and %v of processor time",
		unit.Bytes(limits.MemoryBytes), limits.CPU)}
	refused, _ := h.Confinement()
	for _, r := range refused {
		results = append(results, checkup.Result{Check: "compiler_confinement", Level: checkup.Warning,
			Found: fmt.Sprintf("%s: %s", r.What, r.Why),
			Why:   "a connector that took over its compiler would find this open; limits on memory and time hold all the same"})
	}
	return results
}
