package wasm

import (
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// guestless is an instance with no guest: all that host functions use.
func guestless() *Instance {
	i := &Instance{}
	i.ctx = &callContext{inst: i}
	i.surround()
	i.clock.wall = 1_000_000
	return i
}

func callWASI(i *Instance, name string, mem []byte, args ...uint64) uint64 {
	stack := append(args, 0)
	wasiFuncs[name].call(i, mem, stack)
	return stack[0]
}

// No pointer that a guest makes up reaches outside its memory.
func TestWASIRefusesWildPointers(t *testing.T) {
	i, mem := guestless(), make([]byte, 4096)
	const wild = 1<<32 - 4
	binary.LittleEndian.PutUint32(mem[64:], 4090) // an iovec that runs past the end
	binary.LittleEndian.PutUint32(mem[68:], 100)
	for _, tt := range []struct {
		name string
		args []uint64
	}{
		{"args_sizes_get", []uint64{wild, 0}}, {"environ_sizes_get", []uint64{0, wild}},
		{"clock_time_get", []uint64{0, 0, wild}}, {"clock_time_get", []uint64{1, 0, 4090}}, {"clock_res_get", []uint64{0, wild}},
		{"random_get", []uint64{wild, 8}}, {"random_get", []uint64{0, 1 << 31}},
		{"fd_write", []uint64{1, wild, 1, 0}}, {"fd_write", []uint64{1, 64, 1, 0}}, {"fd_write", []uint64{1, 0, 1 << 29, 0}},
		{"poll_oneoff", []uint64{wild, 0, 1, 0}}, {"poll_oneoff", []uint64{0, wild, 1, 0}}, {"poll_oneoff", []uint64{0, 0, 1, wild}},
	} {
		if got := callWASI(i, tt.name, mem, tt.args...); got != errnoFault {
			t.Errorf("%s%v: %d, want %d", tt.name, tt.args, got, errnoFault)
		}
	}
	if got := callWASI(i, "poll_oneoff", mem, 0, 2048, 0, 0); got != errnoInval {
		t.Errorf("a poll of nothing: %d", got)
	}
	if got := callWASI(i, "fd_write", mem, 3, 64, 1, 0); got != errnoBadf {
		t.Errorf("a write to descriptor 3: %d", got)
	}
}

// Preview 1 is offered whole, since toolchains import what they never call: no
// module fails to load for it, and what is not there says so.
func TestWASIIsComplete(t *testing.T) {
	all := strings.Fields(`args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise
		fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get
		fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read fd_readdir
		fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get path_filestat_set_times
		path_link path_open path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff
		proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown`)
	for _, name := range all {
		f, kind := wasi(name)
		if f == nil || kind == "" || checkImport(importName{wasiModule, name}) != nil {
			t.Errorf("%s is not offered", name)
		}
		if _, answers := wasiFuncs[name]; answers {
			continue
		}
		stack := make([]uint64, 10)
		if f(guestless(), nil, stack); stack[0] != errnoNosys {
			t.Errorf("%s answers %d", name, stack[0])
		}
	}
	if n := len(wasiFuncs) + len(wasiAbsent); n != len(all) {
		t.Errorf("%d functions are offered, preview 1 has %d", n, len(all))
	}
	for _, fd := range []string{"fd_read", "fd_seek", "fd_close", "fd_fdstat_get", "fd_prestat_get"} {
		if got := callWASI(guestless(), fd, make([]byte, 64), 3, 0, 0, 0); got != errnoBadf {
			t.Errorf("%s of descriptor 3: %d", fd, got)
		}
	}
	if checkImport(importName{wasiModule, "path_open2"}) == nil || checkImport(importName{"wasi_unstable", "fd_write"}) == nil {
		t.Error("what is not of preview 1 may be imported")
	}
}

// proc_exit ends the call as a trap does: a new instance takes over.
func TestExitIsATrap(t *testing.T) {
	i := labInstance(t, "")
	refusedFor(t, i.Transform(t.Context(), batchOf("exit:3"), &Result{}), codeTrap, "ended itself with code 3")
}

func TestClockNeverGoesBack(t *testing.T) {
	i, mem := guestless(), make([]byte, 4096)
	last := uint64(0)
	for n := range 100 {
		sub := mem[64 : 64+subBytes]
		clear(sub)
		binary.LittleEndian.PutUint64(sub, 77) // user data
		binary.LittleEndian.PutUint32(sub[subClock:], uint32(n%2))
		binary.LittleEndian.PutUint64(sub[subTimeout:], uint64(n)*1e15)
		sub[subFlags] = byte(n / 2 % 2)
		if got := callWASI(i, "poll_oneoff", mem, 64, 512, 1, 32); got != 0 || mem[32] != 1 || mem[512] != 77 {
			t.Fatalf("poll %d: %d, %d events", n, got, mem[32])
		}
		callWASI(i, "clock_time_get", mem, 1, 0, 8)
		now := binary.LittleEndian.Uint64(mem[8:])
		if now <= last {
			t.Fatalf("from %d to %d", last, now)
		}
		last = now
	}
	callWASI(i, "clock_time_get", mem, 0, 0, 8)
	if now := binary.LittleEndian.Uint64(mem[8:]); now != 1_000_000 {
		t.Errorf("the wall clock stands at %d", now)
	}
}

// Of several, the earliest timeout passes; a file answers at once that it is none.
func TestPollTakesTheEarliest(t *testing.T) {
	i, mem := guestless(), make([]byte, 4096)
	for k, timeout := range []uint64{5000, 3000, 9000} {
		binary.LittleEndian.PutUint64(mem[64+subBytes*k:], uint64(k+1))
		binary.LittleEndian.PutUint64(mem[64+subBytes*k+subTimeout:], timeout)
	}
	callWASI(i, "poll_oneoff", mem, 64, 512, 3, 32)
	if mem[32] != 1 || mem[512] != 2 || i.clock.mono != 3000 {
		t.Errorf("%d events, first %d, clock %d", mem[32], mem[512], i.clock.mono)
	}
	mem[64+subBytes+subTag] = 1
	callWASI(i, "poll_oneoff", mem, 64, 512, 3, 32)
	if mem[32] != 1 || mem[512] != 2 || mem[512+eventError] != errnoBadf || i.clock.mono != 3000 {
		t.Errorf("%d events, first %d, clock %d", mem[32], mem[512], i.clock.mono)
	}
}

func TestPrintedIsBounded(t *testing.T) {
	var out strings.Builder
	now := time.Unix(1, 0)
	w := &printed{log: slog.New(slog.NewTextHandler(&out, nil)), now: func() time.Time { return now }}
	w.write([]byte(strings.Repeat("x", 1<<20)))
	w.write([]byte("\nsecond\n"))
	if n := strings.Count(out.String(), "x"); n > lineBytesMax+10 || !strings.Contains(out.String(), "second") {
		t.Errorf("%d bytes of one line", n)
	}
	for range 1000 {
		w.write([]byte("flood\n"))
	}
	now = now.Add(time.Second)
	w.write([]byte("after\n"))
	if n := strings.Count(out.String(), "flood"); n != linesPerSecondMax-2 || !strings.Contains(out.String(), "lines=902") || !strings.Contains(out.String(), "after") {
		t.Errorf("%d lines", n)
	}
	for range 1000 {
		w.write([]byte("flood\n"))
	}
	w.end()
	if !strings.Contains(out.String(), "lines=901") {
		t.Error("what is left out is not reported at the end")
	}
	if len(w.head) > printedHeadBytes || len(w.partial) > lineBytesMax {
		t.Error("what is kept grows")
	}
	w.begin()
	w.write([]byte("chatter\npanic: why\n\ngoroutine 1 [running]:\n"))
	if got := w.lastWords(); got != "panic: why" {
		t.Errorf("last words %q", got)
	}
}
