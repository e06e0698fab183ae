package apart

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MemoryLeft returns the bytes that this process and its children may still
// take before the machine or a control group (v2 or v1) refuses: what a group's
// limit leaves, where pages of files count as free since the kernel gives them
// up, and what the machine has. It is math.MaxInt64 where nothing tells.
func MemoryLeft() int64 { return memoryLeft("/") }

// memoryLeft is MemoryLeft below another root directory.
func memoryLeft(root string) int64 {
	left := int64(math.MaxInt64)
	if p, err := os.ReadFile(filepath.Join(root, "proc/meminfo")); err == nil {
		if n := kib(p, "MemAvailable:"); n > 0 {
			left = int64(n)
		}
	}
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(part) != 3 {
			continue
		}
		switch {
		case part[1] == "":
			left = min(left, groupV2.left(filepath.Join(root, "sys/fs/cgroup"), part[2]))
		case strings.Contains(","+part[1]+",", ",memory,"):
			left = min(left, groupV1.left(filepath.Join(root, "sys/fs/cgroup/memory"), part[2]))
		}
	}
	return max(left, 0)
}

// groupFiles are the names of one version of control groups.
type groupFiles struct{ limit, used, active, inactive string }

var (
	groupV2 = groupFiles{"memory.max", "memory.current", "active_file", "inactive_file"}
	groupV1 = groupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file", "total_inactive_file"}
)

// left looks at a group and all above it. Inside of a container the path may
// not exist below the mount, which then is the group itself.
func (g groupFiles) left(mount, path string) int64 {
	left := int64(math.MaxInt64)
	for path = filepath.Clean("/" + path); ; path = filepath.Dir(path) {
		left = min(left, g.leftIn(filepath.Join(mount, path)))
		if path == "/" {
			return left
		}
	}
}

func (g groupFiles) leftIn(dir string) int64 {
	limit, ok := number(filepath.Join(dir, g.limit))
	used, known := number(filepath.Join(dir, g.used))
	if !ok || !known {
		return math.MaxInt64
	}
	stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
	for s := bufio.NewScanner(bytes.NewReader(stat)); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		if name == g.active || name == g.inactive {
			n, _ := strconv.ParseInt(value, 10, 64)
			used -= n
		}
	}
	return limit - max(used, 0)
}

// number reads a file with one number; "max" is none.
func number(name string) (int64, bool) {
	p, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(p)), 10, 64)
	return n, err == nil
}

// kib finds a line "name:  123 kB" and returns bytes.
func kib(p []byte, name string) uint64 {
	for line := range strings.Lines(string(p)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}
