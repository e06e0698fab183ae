package wasm

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The subset of WASI preview 1 that connectors get: a clock that follows the
// batch, randomness that repeats, standard output to the log. There are no
// files, no sockets, no arguments and no environment.
// https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md
const wasiModule = "wasi_snapshot_preview1"

// Error numbers of WASI preview 1.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNosys   = 52
)

// wasiFuncs are those that answer, wasiAbsent those that say that there is
// nothing to work on. Together they are all of preview 1.
var wasiFuncs = map[string]offered{
	"args_sizes_get":    {wasiTwoZeros, "ii:i"},
	"args_get":          {wasiNothing, "ii:i"},
	"environ_sizes_get": {wasiTwoZeros, "ii:i"},
	"environ_get":       {wasiNothing, "ii:i"},
	"clock_time_get":    {wasiClock, "iIi:i"},
	"clock_res_get":     {wasiClockRes, "ii:i"},
	"random_get":        {wasiRandom, "ii:i"},
	"fd_write":          {wasiWrite, "iiii:i"},
	"poll_oneoff":       {wasiPoll, "iiii:i"},
	"sched_yield":       {wasiNothing, ":i"},
	"proc_exit":         {wasiExit, "i:"},
	"fd_fdstat_get":     {wasiBadf, "ii:i"},
	"fd_prestat_get":    {wasiBadf, "ii:i"},
	"fd_close":          {wasiBadf, "i:i"},
	"fd_read":           {wasiBadf, "iiii:i"},
	"fd_seek":           {wasiBadf, "iIii:i"},
}

// wasiAbsent are files, sockets and signals: they can be imported, as toolchains
// do, and answer that they are not there.
var wasiAbsent = map[string]string{
	"fd_advise": "iIIi:i", "fd_allocate": "iII:i", "fd_datasync": "i:i", "fd_fdstat_set_flags": "ii:i",
	"fd_fdstat_set_rights": "iII:i", "fd_filestat_get": "ii:i", "fd_filestat_set_size": "iI:i",
	"fd_filestat_set_times": "iIIi:i", "fd_pread": "iiiIi:i", "fd_prestat_dir_name": "iii:i", "fd_pwrite": "iiiIi:i",
	"fd_readdir": "iiiIi:i", "fd_renumber": "ii:i", "fd_sync": "i:i", "fd_tell": "ii:i",
	"path_create_directory": "iii:i", "path_filestat_get": "iiiii:i", "path_filestat_set_times": "iiiiIIi:i",
	"path_link": "iiiiiii:i", "path_open": "iiiiiIIii:i", "path_readlink": "iiiiii:i", "path_remove_directory": "iii:i",
	"path_rename": "iiiiii:i", "path_symlink": "iiiii:i", "path_unlink_file": "iii:i", "proc_raise": "i:i",
	"sock_accept": "iii:i", "sock_recv": "iiiiii:i", "sock_send": "iiiii:i", "sock_shutdown": "ii:i",
}

// wasi returns a function of preview 1 and its type.
func wasi(name string) (hostFunc, string) {
	if f, ok := wasiFuncs[name]; ok {
		return f.call, f.kind
	}
	return wasiNosys, wasiAbsent[name]
}

// exitTrap ends a guest call from within a host function: proc_exit.
type exitTrap struct{ code uint32 }

func (e exitTrap) Error() string {
	return fmt.Sprintf("the connector ended itself with code %d", e.code)
}

func wasiNothing(_ *Instance, _ []byte, stack []uint64) { stack[0] = errnoSuccess }
func wasiBadf(_ *Instance, _ []byte, stack []uint64)    { stack[0] = errnoBadf }
func wasiNosys(_ *Instance, _ []byte, stack []uint64)   { stack[0] = errnoNosys }
func wasiExit(_ *Instance, _ []byte, stack []uint64)    { panic(exitTrap{uint32(stack[0])}) }

func wasiTwoZeros(_ *Instance, mem []byte, stack []uint64) {
	a, b := at(mem, stack[0], 4), at(mem, stack[1], 4)
	if a == nil || b == nil {
		stack[0] = errnoFault
		return
	}
	clear(a)
	clear(b)
	stack[0] = errnoSuccess
}

// wasiClock answers (clock, precision, result). Clock 0 is the wall clock: the
// commit time of the batch. Every other is monotonic and virtual.
func wasiClock(i *Instance, mem []byte, stack []uint64) {
	p := at(mem, stack[2], 8)
	if p == nil {
		stack[0] = errnoFault
		return
	}
	now := i.clock.wall
	if uint32(stack[0]) != 0 {
		now = i.clock.read()
	}
	binary.LittleEndian.PutUint64(p, uint64(now))
	stack[0] = errnoSuccess
}

func wasiClockRes(_ *Instance, mem []byte, stack []uint64) {
	p := at(mem, stack[1], 8)
	if p == nil {
		stack[0] = errnoFault
		return
	}
	binary.LittleEndian.PutUint64(p, uint64(time.Microsecond))
	stack[0] = errnoSuccess
}

// virtualClock is an instance's time. A frozen clock would hang a guest's
// sleep, a fast one would starve its collector.
type virtualClock struct {
	wall int64 // nanoseconds since the Unix epoch
	mono int64 // nanoseconds; never goes back
}

func (c *virtualClock) read() int64 {
	c.mono += int64(time.Microsecond)
	return c.mono
}

// pass lets ns go by, as a guest that sleeps expects.
func (c *virtualClock) pass(ns uint64) {
	const most = uint64(24 * time.Hour)
	c.mono += int64(min(ns, most))
}

func wasiRandom(i *Instance, mem []byte, stack []uint64) {
	p := at(mem, stack[0], stack[1])
	if p == nil {
		stack[0] = errnoFault
		return
	}
	i.fillRandom(p)
	stack[0] = errnoSuccess
}

// writeBytesMax bounds one fd_write; the guest is told that the rest is still to do.
const writeBytesMax = 1 << 20

// wasiWrite answers (fd, iovs, iovs_len, written): standard output and error
// go to the log.
func wasiWrite(i *Instance, mem []byte, stack []uint64) {
	fd, count := uint32(stack[0]), uint32(stack[2])
	if fd != 1 && fd != 2 {
		stack[0] = errnoBadf
		return
	}
	const iovsMax = 1024
	iovs, written := at(mem, stack[1], 8*uint64(count)), at(mem, stack[3], 4)
	if count > iovsMax || iovs == nil || written == nil {
		stack[0] = errnoFault
		return
	}
	total := uint32(0)
	for ; len(iovs) > 0; iovs = iovs[8:] {
		p := at(mem, uint64(binary.LittleEndian.Uint32(iovs)), uint64(binary.LittleEndian.Uint32(iovs[4:])))
		if p == nil {
			stack[0] = errnoFault
			return
		}
		p = p[:min(len(p), writeBytesMax-int(total))]
		i.printed.write(p)
		if total += uint32(len(p)); total == writeBytesMax {
			break
		}
	}
	i.ctx.pay(int(total))
	binary.LittleEndian.PutUint32(written, total)
	stack[0] = errnoSuccess
}

// Layouts of poll_oneoff's subscription (48 bytes) and event (32 bytes).
const (
	subBytes     = 48
	subTag       = 8
	subClock     = 16
	subTimeout   = 24
	subFlags     = 40
	eventBytes   = 32
	eventError   = 8
	eventType    = 10
	subsMax      = 64
	tagClock     = 0
	flagAbsolute = 1
)

// wasiPoll answers (subscriptions, events, n, stored) at once: what waits for a
// file is told that there is none, and otherwise the clock moves on to the
// earliest timeout.
func wasiPoll(i *Instance, mem []byte, stack []uint64) {
	n := uint32(stack[2])
	stored := at(mem, stack[3], 4)
	subs, events := at(mem, stack[0], subBytes*uint64(n)), at(mem, stack[1], eventBytes*uint64(n))
	if stored == nil || subs == nil || events == nil {
		stack[0] = errnoFault
		return
	}
	if n == 0 || n > subsMax {
		stack[0] = errnoInval
		return
	}
	var waits [subsMax]uint64 // 0 for files: they answer at once
	earliest := ^uint64(0)
	for k := range int(n) {
		if s := subs[subBytes*k:]; s[subTag] == tagClock {
			waits[k] = i.clock.until(s)
		}
		earliest = min(earliest, waits[k])
	}
	i.clock.pass(earliest)
	count := uint32(0)
	for k := range int(n) {
		if waits[k] > earliest {
			continue
		}
		s := subs[subBytes*k:]
		e := events[eventBytes*count : eventBytes*count+eventBytes]
		clear(e)
		copy(e[:8], s[:8])
		if e[eventType] = s[subTag]; s[subTag] != tagClock {
			e[eventError] = errnoBadf
		}
		count++
	}
	binary.LittleEndian.PutUint32(stored, count)
	stack[0] = errnoSuccess
}

// until returns how long a clock subscription has to wait from now, in nanoseconds.
func (c *virtualClock) until(sub []byte) uint64 {
	t := binary.LittleEndian.Uint64(sub[subTimeout:])
	if binary.LittleEndian.Uint16(sub[subFlags:])&flagAbsolute == 0 {
		return t
	}
	now := uint64(c.mono)
	if binary.LittleEndian.Uint32(sub[subClock:]) == 0 {
		now = uint64(c.wall)
	}
	return max(t, now) - now
}

// at returns length bytes of guest memory, nil when they are not there.
func at(mem []byte, addr, length uint64) []byte {
	addr, length = uint64(uint32(addr)), uint64(uint32(length))
	if addr+length > uint64(len(mem)) {
		return nil
	}
	return mem[addr : addr+length : addr+length]
}
