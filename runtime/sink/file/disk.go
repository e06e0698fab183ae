package file

import (
	"io"
	"io/fs"
	"os"
)

// disk is a file system as far as the sink needs one. Tests have one that loses
// what was not synced.
type disk interface {
	// Open opens a file as os.OpenFile does.
	Open(name string, flag int) (handle, error)
	// Lock keeps others from locking the file for as long as it is open; errLocked
	// when somebody has.
	Lock(h handle) error
	Rename(from, to string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
	List(dir string) ([]fs.FileInfo, error)
	// SyncDir makes safe which files a directory has.
	SyncDir(dir string) error
	// Same reports whether both are of one file, whatever its name.
	Same(a, b fs.FileInfo) bool
}

// handle is an open file.
type handle interface {
	io.Writer
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// osDisk is the operating system's.
type osDisk struct{}

func (osDisk) Open(name string, flag int) (handle, error) {
	f, err := os.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) Lock(h handle) error {
	f, ok := h.(*os.File)
	if !ok {
		return fs.ErrInvalid
	}
	return lockFile(f)
}

func (osDisk) Rename(from, to string) error          { return os.Rename(from, to) }
func (osDisk) Remove(name string) error              { return os.Remove(name) }
func (osDisk) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (osDisk) Same(a, b fs.FileInfo) bool            { return os.SameFile(a, b) }

func (osDisk) List(dir string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // gone meanwhile: somebody fetched it
			infos = append(infos, info)
		}
	}
	return infos, nil
}

func (osDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
