package wasm

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapNoReserve keeps reserved address space out of the overcommit account.
const mapNoReserve = unix.MAP_NORESERVE

// systemMapsMax returns how many mappings a process may have; 0 if it is not known.
func systemMapsMax() int64 {
	p, err := os.ReadFile("/proc/sys/vm/max_map_count")
	var n int64
	if err == nil {
		_, err = fmt.Sscan(string(p), &n)
	}
	if err != nil {
		return 0
	}
	return n
}
