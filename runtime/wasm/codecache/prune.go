package codecache

import (
	"os"
	"slices"
	"strings"
	"time"
)

// putsMax is how many entries are added before the directory is looked at
// again, in case that another process adds to it too.
const putsMax = 256

// temporaryAgeMax is after what time a file that was being written is one that
// nobody writes any more.
const temporaryAgeMax = time.Hour

type listed struct {
	name string
	used time.Time
	size int64
}

// list reads the directory: names, sizes and times, no content.
func (c *Cache) list() (entries []listed, total int64) {
	dir, err := c.root.Open(".")
	if err != nil {
		return nil, 0
	}
	defer dir.Close()
	names, _ := dir.ReadDir(-1)
	for _, d := range names {
		if !isEntry(d.Name()) && !strings.HasPrefix(d.Name(), temporaryPrefix) {
			continue
		}
		info, err := d.Info()
		if err != nil {
			continue
		}
		if !isEntry(d.Name()) {
			if time.Since(info.ModTime()) > temporaryAgeMax {
				_ = c.root.Remove(d.Name())
			}
			continue
		}
		entries = append(entries, listed{d.Name(), info.ModTime(), info.Size()})
		total += info.Size()
	}
	return entries, total
}

// prune removes the entries used least recently, sparing one, when there are
// too many bytes. It makes some room at once, so that it is not needed at each
// Put.
func (c *Cache) prune(spare string) {
	entries, total := c.list()
	evicted := int64(0)
	if total > c.bytesMax {
		slices.SortFunc(entries, func(a, b listed) int { return a.used.Compare(b.used) })
		for _, e := range entries {
			if total <= c.bytesMax-c.bytesMax/10 {
				break
			}
			if e.name == spare {
				continue
			}
			if err := c.root.Remove(e.name); err == nil {
				evicted++
			} else if !os.IsNotExist(err) {
				continue
			}
			total -= e.size
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Bytes, c.puts = total, 0
	c.stats.Evictions += evicted
}
