package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Codes of the faults of the store.
const (
	CodeDirInUse        = "state_dir_in_use"
	CodeDirUnwritable   = "state_dir_unwritable"
	CodeFormat          = "state_format_unknown"
	CodeWriteFailed     = "state_write_failed"
	CodeCorrupt         = "state_corrupt"
	CodeClosed          = "state_closed"
	CodeDeadLettersFull = "dead_letters_full"
	CodeHistoryGone     = "kv_history_gone"
)

const (
	cacheBytes    = 8 << 20
	memtableBytes = 1 << 20
	openFilesMax  = 256

	// DeadLettersMax is how many dead letters one pipeline keeps before it halts
	// with CodeDeadLettersFull, unless Options say otherwise.
	DeadLettersMax = 100_000
)

// Options are the surroundings of a Store; the zero value is ready.
type Options struct {
	FS             vfs.FS // nil for the disk
	Log            *slog.Logger
	Now            func() time.Time
	DeadLettersMax int   // 0 for DeadLettersMax
	UndoBytesMax   int64 // 0 for UndoBytesMax
}

// Store is the daemon's local state. It is safe for concurrent use.
//
// A failed write is final: Pebble's log is of unknown content from there on.
// The first one is kept, every later call returns it, and Failed is closed.
type Store struct {
	dir   string
	db    *pebble.DB
	cache *pebble.Cache
	lock  *pebble.Lock
	opts  Options
	log   *slog.Logger

	mu     sync.Mutex
	err    error // the first failure, or CodeClosed
	failed chan struct{}
	closed bool
	calls  sync.WaitGroup // calls into Pebble, waited for by Close
	pipes  map[string]*Pipeline
}

// Open opens the store in dir, and creates both where they are missing. One
// process has a directory at a time. The error is a fault: CodeDirInUse,
// CodeDirUnwritable, CodeFormat, CodeCorrupt or CodeWriteFailed.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DeadLettersMax == 0 {
		o.DeadLettersMax = DeadLettersMax
	}
	if o.UndoBytesMax == 0 {
		o.UndoBytesMax = UndoBytesMax
	}
	s := &Store{dir: dir, opts: o, log: o.Log, failed: make(chan struct{}), pipes: map[string]*Pipeline{}}
	if err := s.lockDir(); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) lockDir() error {
	if err := s.opts.FS.MkdirAll(s.dir, 0o700); err != nil {
		return s.unwritable(err)
	}
	lock, err := pebble.LockDirectory(s.dir, s.opts.FS)
	switch {
	case err == nil:
		s.lock = lock
		return nil
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist),
		errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EIO):
		return s.unwritable(err)
	}
	return fault.New(fault.Environment, CodeDirInUse, s.dir,
		"stop the other cdcd that uses this directory, or give this one its own with state.dir",
		"another process has the state directory open: %w", err)
}

func (s *Store) unwritable(err error) error {
	return fault.New(fault.Environment, CodeDirUnwritable, s.dir,
		"create the directory and give it to the user that cdcd runs as, or set state.dir to another one",
		"the state directory can't be written: %w", err)
}

func (s *Store) open() error {
	s.cache = pebble.NewCache(cacheBytes)
	db, err := pebble.Open(s.dir, &pebble.Options{
		FS: s.opts.FS, Lock: s.lock, Cache: s.cache,
		MemTableSize: memtableBytes, MaxOpenFiles: openFilesMax,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger{s},
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				s.latch(s.corrupt(fmt.Errorf("%s: %w", i.Path, i.Details)))
			},
			DiskSlow: func(i pebble.DiskSlowInfo) {
				s.log.Warn("the disk of the state directory is slow", "path", i.Path, "took", i.Duration)
			},
		},
	})
	if latched := s.Err(); latched != nil && err == nil {
		err = errors.Join(latched, closeQuietly(db))
	}
	if err == nil {
		s.db = db
		return nil
	}
	s.cache.Unref()
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return s.unwritable(err)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		return s.writeFailed(err)
	}
	return s.corrupt(err)
}

func (s *Store) corrupt(err error) error {
	return fault.New(fault.Environment, CodeCorrupt, s.dir,
		"move the directory away and start again: the position is taken from the stream; dead letters and table history in it are lost unless restored",
		"the state directory is damaged: %w", err)
}

func (s *Store) writeFailed(err error) error {
	return fault.New(fault.Environment, CodeWriteFailed, s.dir,
		"free space or repair the disk of state.dir, then start cdcd again; nothing that was confirmed is lost",
		"the state directory can't be written any more: %w", err)
}

// checkFormat writes the version of the layout into a new store and refuses
// one that this program does not know.
func (s *Store) checkFormat() error {
	v, ok, err := s.get(formatKey())
	if err != nil {
		return err
	}
	if !ok {
		b := s.db.NewBatch()
		if err := b.Set(formatKey(), []byte(formatVersion), nil); err != nil {
			return s.writeFailed(err)
		}
		return s.commit(b)
	}
	if string(v) != formatVersion {
		return fault.New(fault.Environment, CodeFormat, s.dir,
			"use the version of cdcd that wrote it, or another state.dir",
			"the state directory has layout %q, this cdcd knows %q", v, formatVersion)
	}
	return nil
}

// Err returns the failure that ended the store's use; nil while it works.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Failed is closed at the first failure that Err then returns.
func (s *Store) Failed() <-chan struct{} { return s.failed }

func (s *Store) latch(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.failed)
	}
}

// Close waits for calls in flight and closes the store. It may be called more
// than once. It returns the failure that the store had, if any.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	failure := s.err
	if s.err == nil {
		s.err = fault.New(fault.Fatal, CodeClosed, s.dir, "this is a mistake in cdcd: please report it", "the state is closed")
	}
	s.mu.Unlock()
	s.calls.Wait()
	err := closeQuietly(s.db)
	s.cache.Unref()
	err = errors.Join(err, s.lock.Close())
	if failure != nil {
		return failure
	}
	if err != nil {
		return s.writeFailed(err)
	}
	return nil
}

// closeQuietly closes a store, also one that Pebble gave up on: it panics
// where its own state is not what it expects after a failed write.
func closeQuietly(db *pebble.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("closing: %v", r)
		}
	}()
	return db.Close()
}

// enter begins a call into Pebble; leave ends it.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) leave() { s.calls.Done() }

// commit writes the batch and returns once it is on disk.
func (s *Store) commit(b *pebble.Batch) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.apply(b); err != nil {
		s.latch(s.writeFailed(err))
	}
	// Pebble reports a failed commit to its logger and returns nil.
	if err := s.Err(); err != nil {
		return err
	}
	return b.Close()
}

func (s *Store) apply(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	return s.db.Apply(b, pebble.Sync)
}

func (s *Store) get(key []byte) ([]byte, bool, error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.readFailed(err)
	}
	defer closer.Close()
	return append([]byte(nil), v...), true, nil
}

// each calls f for every key with the prefix, in order, until f returns an error.
func (s *Store) each(prefix []byte, f func(key, value []byte) error) error {
	return s.within(prefix, prefixEnd(prefix), f)
}

// within does the same for the keys from lower to before upper.
func (s *Store) within(lower, upper []byte, f func(key, value []byte) error) error {
	return s.iterate(lower, upper, (*pebble.Iterator).First, (*pebble.Iterator).Next, f)
}

// back does the same for the keys with the prefix, in reverse order.
func (s *Store) back(prefix []byte, f func(key, value []byte) error) error {
	return s.iterate(prefix, prefixEnd(prefix), (*pebble.Iterator).Last, (*pebble.Iterator).Prev, f)
}

func (s *Store) iterate(lower, upper []byte, first, next func(*pebble.Iterator) bool, f func(key, value []byte) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readFailed(err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = s.readFailed(cerr)
		}
	}()
	for ok := first(it); ok; ok = next(it) {
		v, err := it.ValueAndErr()
		if err != nil {
			return s.readFailed(err)
		}
		if err := f(it.Key(), v); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return s.readFailed(err)
	}
	return nil
}

func (s *Store) readFailed(err error) error {
	f := s.corrupt(err)
	s.latch(f)
	return f
}

// logger is Pebble's way to the daemon's log. What Pebble calls fatal ends the
// use of the store, not the process: pipelines stop in order, and whatever was
// not synced is delivered again.
type logger struct{ s *Store }

func (l logger) Infof(string, ...any) {} // compactions and flushes: not for people

func (l logger) Errorf(format string, args ...any) {
	l.s.log.Warn("state", "detail", fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	var cause error
	for _, a := range args {
		if e, ok := a.(error); ok {
			cause = e
		}
	}
	err := fmt.Errorf(format, args...)
	if cause != nil {
		err = fmt.Errorf("%s: %w", err, cause)
	}
	l.s.latch(l.s.writeFailed(err))
}
