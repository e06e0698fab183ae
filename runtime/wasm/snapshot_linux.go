package wasm

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// imageFile is a sealed file of memory: nobody can change or shorten it any
// more, so that what is mapped of it stays as it is.
type imageFile struct {
	fd   int
	size int64
}

func newImageFile(p []byte) (*imageFile, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("cdcd-snapshot", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("cdcd-snapshot", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("making a file of memory: %w", err)
	}
	f := &imageFile{fd: fd, size: int64(len(p))}
	if err := f.fill(p); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// fill writes p, leaving pages of zeros out, and seals the file.
func (f *imageFile) fill(p []byte) error {
	if err := unix.Ftruncate(f.fd, f.size); err != nil {
		return err
	}
	const page = 4 << 10
	for at := 0; at < len(p); {
		end := at
		for end < len(p) && !isZero(p[end:end+page]) {
			end += page
		}
		for at < end {
			n, err := unix.Pwrite(f.fd, p[at:end], int64(at))
			if err != nil {
				return err
			}
			at += n
		}
		at += page
	}
	_, err := unix.FcntlInt(uintptr(f.fd), unix.F_ADD_SEALS,
		unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	return err
}

// mapOver puts the file in the place of the beginning of p, which is mapped. A page
// is p's own once it is written to.
func (f *imageFile) mapOver(p []byte) error {
	if f.size == 0 {
		return nil
	}
	p = p[:f.size]
	_, err := unix.MmapPtr(f.fd, 0, unsafe.Pointer(&p[0]), uintptr(len(p)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("mapping a snapshot: %w", err)
	}
	return nil
}

func (f *imageFile) close() error { return unix.Close(f.fd) }
