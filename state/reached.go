package state

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble reads a log to the first record that is not whole, and takes that for
// the end that a crash has cut off. Where a damaged log, or a disk that lied, has
// cost writes that were synced, the store is an earlier state of its own, whole,
// and nothing in it says so. So the number that Pebble gave the last synced write
// is on record beside it. It is written behind the write and is not synced: what a
// crash leaves of it may be lower, and is never higher than what a disk that keeps
// its word has.
//
// A store that is found to be behind is what one is that was restored from a copy:
// what is missing is made again from the streams.

// reachedName is the file of that record.
const reachedName = "REACHED"

// reached is the record of an open store.
type reached struct {
	mu   sync.Mutex
	file vfs.File
	last uint64 // as recorded; 0 for none
}

const reachedForm = "%020d %08x\n"

// openReached opens the record, or begins one. What is not readable says nothing:
// it would take two damages at once to miss something by it.
func openReached(fs vfs.FS, dir string) (*reached, error) {
	path := filepath.Join(dir, reachedName)
	r := &reached{}
	if f, err := fs.Open(path); err == nil {
		text, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		r.last = readReached(text)
	}
	var err error
	r.file, err = fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	return r, err
}

func readReached(text []byte) (last uint64) {
	var sum uint32
	if n, err := fmt.Sscanf(string(text), reachedForm, &last, &sum); n != 2 || err != nil || sum != sumReached(last) {
		return 0
	}
	return last
}

func sumReached(last uint64) uint32 { return crc32.ChecksumIEEE(fmt.Append(nil, last)) }

// note puts a write on record that is synced.
func (r *reached) note(b *pebble.Batch) error {
	last := uint64(b.SeqNum()) + uint64(b.Count())
	r.mu.Lock()
	defer r.mu.Unlock()
	if last <= r.last {
		return nil
	}
	return r.set(last)
}

// set is called with mu held, or by the only user.
func (r *reached) set(last uint64) error {
	r.last = last
	_, err := r.file.WriteAt(fmt.Appendf(nil, reachedForm, last, sumReached(last)), 0)
	return err
}

// checkReached finds out whether writes are missing that the store had, and if so
// marks it as one that was restored from a copy.
func (s *Store) checkReached() (err error) {
	if s.opts.readOnly {
		return nil
	}
	r, err := openReached(s.fs, s.dir)
	if err != nil {
		return s.unwritable(err)
	}
	s.reached = r
	was := r.last
	r.last = 0 // what is written from here on counts
	if was == 0 {
		return nil
	}
	b := s.db.NewBatch() // its number tells: it changes nothing
	if err := b.Set(formatKey(), []byte(formatVersion), nil); err != nil {
		return s.writeFailed(err)
	}
	if err := s.write(b); err != nil {
		return err
	}
	now := uint64(b.SeqNum())
	if now < was {
		names, err := s.markRestored()
		if err != nil {
			return err
		}
		s.log.Warn("the state lost its last writes: its log was damaged or the disk had not kept it; what they held is made again from the streams",
			"dir", s.dir, "writes", was-now, "pipelines", names)
	}
	if err := r.set(now + 1); err != nil {
		return s.writeFailed(err)
	}
	return b.Close()
}
