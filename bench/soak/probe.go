package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// probe is what the process has at one time.
type probe struct {
	Cycle      int
	RSS        int64 // bytes resident that are of no file
	Heap       int64 // bytes of Go objects that are in use
	JIT        int64 // bytes of executable memory that belong to no file: machine code
	Goroutines int
	FDs        int
	Mappings   int
}

// String says it to people.
func (p probe) String() string {
	return fmt.Sprintf("%6.1f MiB resident, %4d KiB of machine code, %d goroutines, %d descriptors, %d mappings",
		float64(p.RSS)/(1<<20), p.JIT>>10, p.Goroutines, p.FDs, p.Mappings)
}

// look collects what can be, and takes stock: what stays is what is held.
func look(cycle int) (probe, error) {
	p := probe{Cycle: cycle}
	for range 3 { // finalizers unmap machine code, and run after a collection
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	debug.FreeOSMemory()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	p.Heap = int64(heap.HeapAlloc)
	p.Goroutines = runtime.NumGoroutine()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return p, fmt.Errorf("resident memory can only be measured on Linux: %w", err)
	}
	// Pages of files, of the executable above all, come and go with what the
	// machine has room for.
	_, anonymous, _ := strings.Cut(string(status), "RssAnon:")
	if _, err := fmt.Sscan(anonymous, &p.RSS); err != nil {
		return p, fmt.Errorf("RssAnon of /proc/self/status: %w", err)
	}
	p.RSS <<= 10
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return p, err
	}
	p.FDs = len(fds) - 1 // without the one that reads the folder
	return p, p.mappings()
}

// mappings counts the process's mappings, and the bytes of machine code.
func (p *probe) mappings() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		p.Mappings++
		fields := strings.Fields(lines.Text())
		if len(fields) != 5 || fields[1][2] != 'x' { // a sixth field names a file, or the system's own
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			return err
		}
		p.JIT += to - from
	}
	return nil
}
