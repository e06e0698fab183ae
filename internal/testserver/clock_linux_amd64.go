package testserver

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Clock is the wall clock of one process, which Jump sets while the process
// runs. Its monotonic clock goes on, as when an operator or NTP sets the time.
//
// A program written in Go asks no library for the time that could be put before
// it, and a time namespace doesn't cover the wall clock. So the process is held
// by ptrace where it begins, and the function that reads the clock in the
// kernel's page of functions, the vDSO, is led to a few instructions that add
// an offset. The program itself is the one that ships, unchanged.
type Clock struct {
	mem    *os.File // of the process
	offset int64    // address of the offset in seconds
}

// Machine code that goes behind the vDSO's last function: it asks the kernel
// for the time and, for the wall clock, adds the seconds that stand behind it.
var clockCode = []byte{
	0xb8, 0xe4, 0, 0, 0, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi (CLOCK_REALTIME is 0)
	0x75, 0x0a, // jne ret
	0x48, 0x8b, 0x0d, 14, 0, 0, 0, // mov rcx, [offset]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, // the offset
}

const clockOffsetAt = 32 // in clockCode

// StartWithClock starts the command with a wall clock of its own, which shows
// the right time until Jump. Close ends the Clock, not the process.
func StartWithClock(cmd *exec.Cmd) (*Clock, error) {
	runtime.LockOSThread() // ptrace is between threads
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return nil, errors.Join(fmt.Errorf("hold the process: %v, status %#x", err, status), cmd.Process.Kill())
	}
	c, err := patchClock(pid)
	if err = errors.Join(err, syscall.PtraceDetach(pid)); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill())
	}
	return c, nil
}

func patchClock(pid int) (*Clock, error) {
	start, end, err := vdso(pid)
	if err != nil {
		return nil, err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	image := make([]byte, end-start)
	if _, err := mem.ReadAt(image, start); err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	function, err := clockFunction(image)
	cave := len(image) - len(clockCode)
	if err == nil && !bytes.Equal(image[cave:], make([]byte, len(clockCode))) {
		err = errors.New("the vDSO has no room behind its last function")
	}
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(cave-int(function)-5))
	if err == nil {
		_, err = mem.WriteAt(clockCode, start+int64(cave))
	}
	if err == nil {
		_, err = mem.WriteAt(jump, start+int64(function))
	}
	if err != nil {
		return nil, errors.Join(err, mem.Close())
	}
	return &Clock{mem, start + int64(cave) + clockOffsetAt}, nil
}

// vdso returns where the kernel has put its page of functions.
func vdso(pid int) (start, end int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err = fmt.Sscanf(line, "%x-%x", &start, &end)
			return start, end, err
		}
	}
	return 0, 0, errors.New("the process has no vDSO")
}

// clockFunction returns where in the image the function is that Go's runtime
// calls for the time.
func clockFunction(image []byte) (uint64, error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("read the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return s.Value, nil
		}
	}
	return 0, errors.New("the vDSO has no __vdso_clock_gettime")
}

// Jump sets the clock to the right time and offset, rounded to seconds.
func (c *Clock) Jump(offset time.Duration) error {
	seconds := binary.LittleEndian.AppendUint64(nil, uint64(int64(offset/time.Second)))
	if _, err := c.mem.WriteAt(seconds, c.offset); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// Close lets go of the process, whose clock stays as it is.
func (c *Clock) Close() error { return c.mem.Close() }

// ClockProblem says why processes can't have clocks of their own here; nil where
// they can.
func ClockProblem() error {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	clock, err := StartWithClock(cmd)
	if err != nil {
		return err
	}
	return errors.Join(clock.Jump(time.Hour), clock.Close(), cmd.Wait())
}
