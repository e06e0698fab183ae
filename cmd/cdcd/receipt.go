package main

import (
	"fmt"

	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

// receipt prints what a step gave back when it was unloaded.
func receipt(r pipeline.Receipt) string {
	if r.Error != "" {
		return r.Error
	}
	w, ok := r.Receipt.(wasm.Receipt)
	if !ok {
		return fmt.Sprint(r.Receipt)
	}
	left := "nothing left"
	if !w.Clean() {
		left = fmt.Sprintf("LEFT: %d mappings, %d calls, %d handles", w.MappingsLeft, w.GoroutinesLeft, w.HandlesLeft)
	}
	return fmt.Sprintf("%s unmapped in %s, %s", size(w.MemoryBytesUnmapped), span(w.Took), left)
}
