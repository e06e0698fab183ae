package apart

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nobody is the user that a child is to itself. The kernel's idea of it stays
// the parent's, so that it reaches its directory; exec as somebody who is not
// root inside of a user namespace drops every capability.
const nobody = 65534

// namespaces asks for a user and a network of the child's own.
func namespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}},
	}
}

func attributes(sys *syscall.SysProcAttr) *syscall.SysProcAttr {
	if sys == nil {
		sys = &syscall.SysProcAttr{}
	}
	sys.Setpgid = true // a Ctrl-C is the parent's to act on
	sys.Pdeathsig = syscall.SIGKILL
	return sys
}

func killed(s *os.ProcessState) bool {
	w, ok := s.Sys().(syscall.WaitStatus)
	return ok && w.Signaled() && w.Signal() == syscall.SIGKILL
}

func peak(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}

const (
	niceness     = 5
	openFilesMax = 64
)

// confine takes from this process what its work does not need, and limits the
// rest. Nothing of it can be taken back.
func confine(o order) []Refusal {
	a := attempts{}
	a.try("first to die", os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0))
	a.try("priority", unix.Setpriority(unix.PRIO_PGRP, 0, niceness))
	a.try("inherited files", closeInherited())
	seconds := uint64((o.CPU + time.Second - 1) / time.Second)
	a.try(LimitCPU, unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds + 1})) // first it may say so
	a.try(LimitFile, limit(unix.RLIMIT_FSIZE, uint64(o.FileBytes)))
	a.try("core dumps", limit(unix.RLIMIT_CORE, 0))
	a.try("open files", limit(unix.RLIMIT_NOFILE, openFilesMax))
	a.try(LimitMemory, limitMemory(uint64(o.MemoryBytes)))
	a.try("new privileges", onAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0))
	a.try("files", landlock())
	a.try("capabilities", dropCapabilities())
	if o.Shared != "" {
		a.try("network", errors.New(o.Shared))
	}
	return a
}

// limit sets both limits of a resource, the soft and the hard one.
func limit(resource int, n uint64) error {
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: n, Max: n})
}

// reservedBytes is for address space that is reserved and never used.
const reservedBytes = 256 << 20

// limitMemory lets this process have so much more than it has. Address space by
// itself is a coarse measure: a Go process reserves 1.2 GB when it begins, and
// does not begin with less than 0.7; and each 64 MiB that its heap grows by are
// reserved twice for a moment, to align them. What it can write to (RLIMIT_DATA)
// is the fine one; the other holds what is shared, which that does not count.
func limitMemory(more uint64) error {
	p, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	size, data := kib(p, "VmSize:"), kib(p, "VmData:")
	if size == 0 {
		return errors.New("the size of this process is unknown")
	}
	return errors.Join(limit(unix.RLIMIT_AS, size+more+reservedBytes), limit(unix.RLIMIT_DATA, data+more))
}

// closeInherited closes the files that the parent's own parent left open to
// all. Go's are closed by exec, and those of the runtime here must stay.
func closeInherited() error {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range list {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}

// onAllThreads makes a system call whose effect is a thread's on all of them;
// later ones inherit it.
func onAllThreads(trap, a, b, c uintptr) error {
	if _, _, e := syscall.AllThreadsSyscall(trap, a, b, c); e != 0 {
		return e
	}
	return nil
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return onAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
}

// Access rights of Landlock by the version of its interface, from
// linux/landlock.h: the first has 13, then came refer, truncate and ioctl.
var landlockFiles = [...]uint64{1: 1<<13 - 1, 2: 1<<14 - 1, 3: 1<<15 - 1, 4: 1<<15 - 1, 5: 1<<16 - 1}

// landlock leaves this process the files below its working directory, and no
// TCP where the kernel knows how.
func landlock() error {
	v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return fmt.Errorf("landlock: %w", e)
	}
	version := min(int(v), len(landlockFiles)-1)
	rules := unix.LandlockRulesetAttr{Handled_access_fs: landlockFiles[version]}
	size := unsafe.Sizeof(rules.Handled_access_fs)
	if version >= 4 {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(rules.Handled_access_net)
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if e != 0 {
		return fmt.Errorf("landlock: %w", e)
	}
	defer unix.Close(int(fd))
	here, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: %w", err)
	}
	defer unix.Close(here)
	below := unix.LandlockPathBeneathAttr{Allowed_access: rules.Handled_access_fs &^ unix.LANDLOCK_ACCESS_FS_EXECUTE, Parent_fd: int32(here)}
	if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&below)), 0, 0, 0); e != 0 {
		return fmt.Errorf("landlock: %w", e)
	}
	return onAllThreads(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
}
