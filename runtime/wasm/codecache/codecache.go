package codecache

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// Key names an entry. Whoever makes it puts in all that the content depends on.
type Key [32]byte

func (k Key) file() string { return hex.EncodeToString(k[:]) + suffix }

const suffix = ".code"

// Options configure a Cache.
type Options struct {
	Dir      string       // empty for none: only copies are kept, and nothing is found
	BytesMax int64        // of all entries
	Log      *slog.Logger // for what costs time and fails nothing
}

// Stats counts what a Cache did, and what it has.
type Stats struct {
	Hits      int64 `json:"hits"`
	Misses    int64 `json:"misses"`
	Damaged   int64 `json:"damaged"`   // entries that did not verify and were removed
	Evictions int64 `json:"evictions"` // entries removed for want of room
	Failures  int64 `json:"failures"`  // entries that could not be written
	Bytes     int64 `json:"bytes"`     // of all entries, as far as this process knows
}

// Cache is one process's hold of a directory. It is safe for concurrent use and
// has no goroutine.
type Cache struct {
	log      *slog.Logger
	bytesMax int64
	root     *os.Root // nil for none
	run      *run

	mu    sync.Mutex
	stats Stats
	puts  int // since the directory was last looked at
}

// Open makes or opens the directory and removes what processes that died left
// in it. The error is a *DirError when somebody else may write to it.
func Open(o Options) (*Cache, error) {
	c := &Cache{log: o.Log, bytesMax: o.BytesMax}
	if o.Dir != "" {
		if err := private(o.Dir); err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(o.Dir)
		if err != nil {
			return nil, err
		}
		c.root = root
	}
	var err error
	if c.run, err = openRun(o.Dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if c.root != nil {
		list, total := c.list()
		c.stats.Bytes = total
		c.log.Debug("code cache", "dir", o.Dir, "entries", len(list), "bytes", total)
	}
	return c, nil
}

// Close removes this process's own place. Copies must be closed before, and no
// call may be running. Closing again does nothing.
func (c *Cache) Close() error {
	var errs []error
	if c.run != nil {
		errs = append(errs, c.run.close())
		c.run = nil
	}
	if c.root != nil {
		errs = append(errs, c.root.Close())
		c.root = nil
	}
	return errors.Join(errs...)
}

// Keeps says whether there is a directory.
func (c *Cache) Keeps() bool { return c.root != nil }

// Stats returns the counts so far.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Cache) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// Get returns a verified copy of an entry, to be closed, or nil. Trouble with
// the directory is a miss.
func (c *Cache) Get(k Key) *Copy {
	if c.root == nil {
		return nil
	}
	f, err := c.root.OpenFile(k.file(), os.O_RDONLY|noWait, 0)
	if err != nil {
		c.count(func(s *Stats) { s.Misses++ })
		return nil
	}
	defer f.Close()
	p, err := c.verified(k, f)
	if err != nil {
		c.log.Warn("compiled code is damaged, it is made anew", "entry", k.file(), "err", err)
		c.removeSame(k, f)
		c.count(func(s *Stats) { s.Misses++; s.Damaged++ })
		return nil
	}
	now := time.Now()
	_ = c.root.Chtimes(k.file(), now, now)
	c.count(func(s *Stats) { s.Hits++ })
	return p
}

// verified copies an entry and checks it on the way.
func (c *Cache) verified(k Key, f *os.File) (_ *Copy, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	secret, err := c.secret()
	if err != nil {
		return nil, err
	}
	h, err := readHeader(f)
	if err != nil {
		return nil, err
	}
	p, err := c.NewCopy()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	mac := newMAC(secret, k, h.name)
	if err := copyHashed(p, mac, f); err != nil {
		return nil, err
	}
	if !hmac.Equal(mac.Sum(nil), h.mac) {
		return nil, errors.New("it is not what was put in")
	}
	return p, p.place(h.name)
}

// removeSame removes the entry that was read, not one that came meanwhile.
func (c *Cache) removeSame(k Key, f *os.File) {
	read, err := f.Stat()
	now, err2 := c.root.Lstat(k.file())
	if err == nil && err2 == nil && os.SameFile(read, now) {
		_ = c.root.RemoveAll(k.file())
		c.count(func(s *Stats) { s.Bytes = max(s.Bytes-now.Size(), 0) })
	}
}

// Put files a placed copy under a key. An error means that it is not kept; the
// copy is good all the same.
func (c *Cache) Put(k Key, p *Copy) error {
	if c.root == nil {
		return nil
	}
	n, err := c.put(k, p)
	if err != nil {
		c.count(func(s *Stats) { s.Failures++ })
		return err
	}
	c.mu.Lock()
	c.stats.Bytes += n
	c.puts++
	look := c.stats.Bytes > c.bytesMax || c.puts >= putsMax
	c.mu.Unlock()
	if look {
		c.prune(k.file())
	}
	return nil
}

func (c *Cache) put(k Key, p *Copy) (size int64, err error) {
	secret, err := c.secret()
	if err != nil {
		return 0, err
	}
	name := temporary()
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = c.root.Remove(name)
		}
	}()
	h := header{name: p.name}
	size, err = h.write(f, secret, k, p.reader())
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	// Not synced: what a crash of the machine leaves does not verify.
	return size, c.root.Rename(name, k.file())
}

// Remove takes an entry away.
func (c *Cache) Remove(k Key) {
	if c.root == nil {
		return
	}
	if info, err := c.root.Lstat(k.file()); err == nil && c.root.Remove(k.file()) == nil {
		c.count(func(s *Stats) { s.Bytes = max(s.Bytes-info.Size(), 0) })
	}
}

// ErrNoPlace is the end of Scratch's tries.
var ErrNoPlace = errors.New("there is no other place to write to")

// Scratch makes a directory of this process's own, for a child to write to. It
// is beside the entries, or in another place of the system's for the second and
// third try, for when the disk is full. remove takes it away.
func (c *Cache) Scratch(try int) (dir string, remove func(), err error) {
	places := append([]string{c.run.dir}, elsewhere()...)
	if try >= len(places) {
		return "", nil, ErrNoPlace
	}
	dir, err = os.MkdirTemp(places[try], "cdcd-work-")
	if err != nil {
		return "", nil, fmt.Errorf("no room to compile: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// elsewhere lists where else a process may write.
func elsewhere() []string {
	list := []string{os.TempDir()}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		list = append(list, "/dev/shm")
	}
	return list
}

func isEntry(name string) bool { return strings.HasSuffix(name, suffix) }
