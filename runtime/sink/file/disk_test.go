package file

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// memDisk is a disk that loses what was not synced when its power is cut, dies
// after some operations, and may be full.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode // names as they were at the last SyncDir
	pending []func(map[string]*inode)
	dies    int   // after so many operations; negative: never
	limit   int64 // bytes that all files may have; 0: no limit
	deny    func(op, name string) error
}

// inode is a file's content, and what happened to it since it was synced.
type inode struct {
	data, synced []byte
	ops          []func(data []byte, part float64) []byte
	lock         *memFile
	at           time.Time
}

var errDead = errors.New("the power is cut")

func newMemDisk() *memDisk {
	return &memDisk{names: map[string]*inode{}, durable: map[string]*inode{}, dies: -1}
}

// op counts an operation; it is called with mu held.
func (d *memDisk) op(op, name string) error {
	if d.dies == 0 {
		return errDead
	}
	if d.dies > 0 {
		d.dies--
	}
	if d.deny != nil {
		return d.deny(op, name)
	}
	return nil
}

// cut cuts the power, or kills the process alone, and returns the disk that is
// found afterwards.
func (d *memDisk) cut(dice *rand.Rand, power bool) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newMemDisk()
	names := d.names
	if power {
		names = d.durable
		for i := range dice.IntN(len(d.pending) + 1) { // a journalling file system keeps their order
			d.pending[i](names)
		}
	}
	seen := map[*inode]*inode{}
	for name, n := range names {
		if seen[n] == nil {
			c := &inode{data: append([]byte(nil), n.data...), at: n.at}
			if power {
				c.data = append([]byte(nil), n.synced...)
				for _, op := range n.ops { // any of them may have come through, in part
					switch dice.IntN(4) {
					case 0:
					case 1:
						c.data = op(c.data, dice.Float64())
					default:
						c.data = op(c.data, 1)
					}
				}
			}
			c.synced = append([]byte(nil), c.data...)
			seen[n] = c
		}
		after.names[name], after.durable[name] = seen[n], seen[n]
	}
	return after
}

func (d *memDisk) change(f func(map[string]*inode)) {
	f(d.names)
	d.pending = append(d.pending, f)
}

func (d *memDisk) used() (n int64) {
	for _, i := range d.names {
		n += int64(len(i.data))
	}
	return n
}

func (d *memDisk) Open(name string, flag int) (handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("open", name); err != nil {
		return nil, err
	}
	n := d.names[name]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case n != nil && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case n == nil:
		n = &inode{at: time.Now()}
		d.change(func(names map[string]*inode) { names[name] = n })
	case flag&os.O_TRUNC != 0:
		n.apply(func([]byte, float64) []byte { return nil })
	}
	return &memFile{d: d, n: n}, nil
}

func (d *memDisk) Lock(h handle) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := h.(*memFile)
	if f.n.lock != nil {
		return errLocked
	}
	f.n.lock = f
	return nil
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("rename", from); err != nil {
		return err
	}
	if d.names[from] == nil {
		return fs.ErrNotExist
	}
	d.change(func(names map[string]*inode) {
		if n := names[from]; n != nil {
			names[to] = n
			delete(names, from)
		}
	})
	return nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("remove", name); err != nil {
		return err
	}
	d.change(func(names map[string]*inode) { delete(names, name) })
	return nil
}

func (d *memDisk) Stat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return memInfo{filepath.Base(name), int64(len(n.data)), n}, nil
}

func (d *memDisk) List(dir string) (infos []fs.FileInfo, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		if filepath.Dir(name) == dir {
			infos = append(infos, memInfo{filepath.Base(name), int64(len(n.data)), n})
		}
	}
	return infos, d.op("list", dir)
}

func (d *memDisk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.op("syncdir", dir); err != nil {
		return err
	}
	for _, f := range d.pending {
		f(d.durable)
	}
	d.pending = nil
	return nil
}

func (d *memDisk) Same(a, b fs.FileInfo) bool { return a.Sys() == b.Sys() }

type memInfo struct {
	name string
	size int64
	n    *inode
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return 0o644 }
func (i memInfo) ModTime() time.Time { return i.n.at }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return i.n }

func (n *inode) apply(op func([]byte, float64) []byte) {
	n.data = op(n.data, 1)
	n.ops = append(n.ops, op)
}

type memFile struct {
	d *memDisk
	n *inode
}

// put returns an operation that writes b at an offset.
func put(b []byte, at int64) func([]byte, float64) []byte {
	b = append([]byte(nil), b...)
	return func(data []byte, part float64) []byte {
		if b := b[:int(part*float64(len(b)))]; len(b) > 0 {
			if grow := int(at) + len(b) - len(data); grow > 0 {
				data = append(data, make([]byte, grow)...)
			}
			copy(data[at:], b)
		}
		return data
	}
}

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op("write", ""); err != nil {
		return 0, err
	}
	if grow := at + int64(len(b)) - int64(len(f.n.data)); grow > 0 && f.d.limit > 0 && f.d.used()+grow > f.d.limit {
		fits := max(0, f.d.limit-f.d.used()-max(0, at-int64(len(f.n.data))))
		f.n.apply(put(b[:min(fits, int64(len(b)))], at))
		return int(fits), syscall.ENOSPC
	}
	f.n.apply(put(b, at))
	return len(b), nil
}

func (f *memFile) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	at := int64(len(f.n.data))
	f.d.mu.Unlock()
	return f.WriteAt(b, at)
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op("truncate", ""); err != nil {
		return err
	}
	f.n.apply(func(data []byte, _ float64) []byte {
		if grow := int(size) - len(data); grow > 0 {
			return append(data, make([]byte, grow)...)
		}
		return data[:size:size]
	})
	return nil
}

func (f *memFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.op("sync", ""); err != nil {
		return err
	}
	f.n.synced, f.n.ops = append([]byte(nil), f.n.data...), nil
	return nil
}

func (f *memFile) Stat() (fs.FileInfo, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return memInfo{"", int64(len(f.n.data)), f.n}, nil
}

func (f *memFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.n.lock == f {
		f.n.lock = nil
	}
	return nil
}
