package wasm

import (
	"bytes"
	"os"
	"strconv"
)

// executable returns the mappings that can be executed and are of no file: the
// machine code that this process made itself. https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html
func executable() ([]span, bool) {
	p, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, false
	}
	var list []span
	for line := range bytes.Lines(p) {
		f := bytes.Fields(line) // 7f00-7f10 r-xp 00000000 00:00 0 [name]
		if len(f) != 5 || f[1][2] != 'x' {
			continue
		}
		from, to, _ := bytes.Cut(f[0], []byte("-"))
		a, err1 := strconv.ParseUint(string(from), 16, 64)
		b, err2 := strconv.ParseUint(string(to), 16, 64)
		if err1 == nil && err2 == nil {
			list = append(list, span{uintptr(a), uintptr(b)})
		}
	}
	return list, true
}
