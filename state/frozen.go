package state

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// freezing is a file system whose first failed write is its last: it is told to
// failed, and from then on the disk stays as it is, while the program above is
// told that all went well. Pebble answers some failures with a panic under its
// locks, which would end the process; and whatever it did next would build on
// what is not there. So it is left to talk to nobody, until the store, every call
// of which returns the failure, is closed. The disk then is as after a crash.
//
// It is about the store's own directory: a copy that is made elsewhere fails by
// itself.
type freezing struct {
	vfs.FS
	dir    string
	failed func(error)
	frozen *atomic.Bool
}

func newFreezing(fs vfs.FS, dir string, failed func(error)) *freezing {
	return &freezing{fs, dir, failed, new(atomic.Bool)}
}

// own reports whether a file is the store's.
func (z *freezing) own(name string) bool { return z.PathDir(name) == z.PathJoin(z.dir) }

// Unwrap implements vfs.FS.
func (z *freezing) Unwrap() vfs.FS { return z.FS }

// try does something to the disk, unless it is frozen.
func (z *freezing) try(f func() error) error {
	if z.frozen.Load() {
		return nil
	}
	err := f()
	if err != nil {
		z.freeze(err)
	}
	return nil
}

func (z *freezing) freeze(err error) {
	if z.frozen.CompareAndSwap(false, true) {
		z.failed(err)
	}
}

// file makes a file to be written, or one that leads nowhere.
func (z *freezing) file(name string, f func() (vfs.File, error)) (vfs.File, error) {
	if !z.own(name) {
		return f()
	}
	var got vfs.File
	_ = z.try(func() (err error) { got, err = f(); return err }) // told to failed
	if got == nil {
		mem, err := vfs.NewMem().Create("nowhere", vfs.WriteCategoryUnspecified)
		return mem, err
	}
	return &freezingFile{got, z}, nil
}

// Create implements vfs.FS.
func (z *freezing) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return z.file(name, func() (vfs.File, error) { return z.FS.Create(name, c) })
}

// ReuseForWrite implements vfs.FS.
func (z *freezing) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return z.file(newname, func() (vfs.File, error) { return z.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenReadWrite implements vfs.FS.
func (z *freezing) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := z.FS.OpenReadWrite(name, c, opts...)
	if err != nil || !z.own(name) {
		return f, err
	}
	return &freezingFile{f, z}, nil
}

// OpenDir implements vfs.FS: a directory is opened to be synced.
func (z *freezing) OpenDir(name string) (vfs.File, error) {
	f, err := z.FS.OpenDir(name)
	if err != nil || z.PathJoin(name) != z.PathJoin(z.dir) {
		return f, err
	}
	return &freezingFile{f, z}, nil
}

// Link implements vfs.FS. Whoever links copies where it can't.
func (z *freezing) Link(oldname, newname string) error {
	if z.frozen.Load() && z.own(newname) {
		return nil
	}
	return z.FS.Link(oldname, newname)
}

// Remove implements vfs.FS. What can't be removed does no harm.
func (z *freezing) Remove(name string) error {
	if z.frozen.Load() && z.own(name) {
		return nil
	}
	return z.FS.Remove(name)
}

// RemoveAll implements vfs.FS, as Remove.
func (z *freezing) RemoveAll(name string) error {
	if z.frozen.Load() && z.own(name) {
		return nil
	}
	return z.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (z *freezing) Rename(oldname, newname string) error {
	if !z.own(newname) {
		return z.FS.Rename(oldname, newname)
	}
	return z.try(func() error { return z.FS.Rename(oldname, newname) })
}

// freezingFile is a file of one.
type freezingFile struct {
	vfs.File
	z *freezing
}

// Write implements vfs.File.
func (f *freezingFile) Write(p []byte) (int, error) {
	return len(p), f.z.try(func() error { _, err := f.File.Write(p); return err })
}

// WriteAt implements vfs.File.
func (f *freezingFile) WriteAt(p []byte, off int64) (int, error) {
	return len(p), f.z.try(func() error { _, err := f.File.WriteAt(p, off); return err })
}

// Preallocate implements vfs.File. One that is refused is only slower.
func (f *freezingFile) Preallocate(off, length int64) error {
	if f.z.frozen.Load() {
		return nil
	}
	return f.File.Preallocate(off, length)
}

// Sync implements vfs.File.
func (f *freezingFile) Sync() error { return f.z.try(f.File.Sync) }

// SyncData implements vfs.File.
func (f *freezingFile) SyncData() error { return f.z.try(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *freezingFile) SyncTo(length int64) (full bool, err error) {
	full = true
	err = f.z.try(func() (err error) { full, err = f.File.SyncTo(length); return err })
	return full || f.z.frozen.Load(), err
}

// Close implements vfs.File. The file is given back also on a frozen disk.
func (f *freezingFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.z.freeze(err)
	}
	return nil
}
