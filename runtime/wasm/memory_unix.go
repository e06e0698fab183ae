//go:build unix

package wasm

import "golang.org/x/sys/unix"

// reserve takes address space that no access is allowed to.
func reserve(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve)
}

// open allows access to a part of it, which may be empty.
func open(p []byte) error {
	if len(p) == 0 {
		return nil // to the system an empty slice is an address that is none
	}
	return unix.Mprotect(p, unix.PROT_READ|unix.PROT_WRITE)
}

func release(p []byte) error { return unix.Munmap(p) }
