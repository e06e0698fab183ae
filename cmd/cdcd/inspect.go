package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

// printInspection prints a module for people: what it says of itself, what it
// asks for, how near it is to its limits, what it costs.
func printInspection(out *console, x *wasm.Inspection) {
	out.line("name          %s\nversion       %s\nkind          %s\nabi           %d\nsummary       %s", x.Name, x.Version, x.Kind, x.ABI, x.Summary)
	out.line("capabilities  %s\ncolumns       %s", orWord(x.Capabilities, "none"), orWord(x.Columns, "any"))
	out.line("size          %d bytes: %d of code, %d of data, %d of custom sections", x.Sizes.Bytes, x.Sizes.Code, x.Sizes.Data, x.Sizes.Custom)
	out.line("memory        %s to begin with", unit.Bytes(x.Sizes.MemoryMin))
	out.line("sha256        %s", x.Digest)
	out.line("\nimports")
	for _, im := range x.Imports {
		out.line("  %-44s %-28s %s", im.Module+"."+im.Name, im.Type, grantOf(im))
	}
	if len(x.Imports) == 0 {
		out.line("  none")
	}
	out.line("\nexports")
	for _, e := range x.Exports {
		out.line("  %-44s %-28s %s", e.Name, e.Type, map[bool]string{true: "cdcd-abi-1", false: "never called"}[e.ABI])
	}
	out.line("\nlimits of class %q", x.Class)
	for _, l := range x.Limits {
		out.line("  %-26s %10d of %d", l.What, l.Has, l.Limit)
	}
	out.line("\ncost (machine code and times are estimates)")
	out.line("  functions                  %d", x.Cost.Functions)
	out.line("  metering                   %+.1f %% of code, %d bytes to compile", 100*x.Cost.Growth, x.Cost.MeteredBytes)
	out.line("  machine code               %d bytes", x.Cost.MachineBytes)
	out.line("  compiling, once            %v on one processor", roundTime(x.Cost.CompileTime))
	out.line("  loading, from the cache    %v", roundTime(x.Cost.CachedLoadTime))
}

// grantOf says what a step has to allow for an import.
func grantOf(im wasm.ModuleImport) string {
	switch {
	case im.Grant != "" && !im.Declared:
		return fmt.Sprintf("allow: [%s], but the manifest does not list it", im.Grant)
	case im.Grant != "":
		return "allow: [" + im.Grant + "]"
	case im.Absent:
		return "answers that there is none"
	}
	return "all have it"
}

// roundTime leaves two digits: more of an estimate would be a lie.
func roundTime(d time.Duration) string {
	unit := time.Microsecond
	for d/unit >= 100 {
		unit *= 10
	}
	return strings.TrimSuffix(d.Round(unit).String(), "0s")
}
