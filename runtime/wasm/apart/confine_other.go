//go:build !linux

package apart

import (
	"errors"
	"os"
	"syscall"
)

func namespaces() *syscall.SysProcAttr { return nil }

func attributes(sys *syscall.SysProcAttr) *syscall.SysProcAttr { return sys }

func killed(*os.ProcessState) bool { return false }

func peak(*os.ProcessState) int64 { return 0 }

// confine has the deadline alone: it is the parent's.
func confine(order) []Refusal {
	return []Refusal{{"memory, processor time, files, network, privileges", errors.ErrUnsupported.Error()}}
}
