package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
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
	CodeDeadLettersMany = "dead_letters_many"
	CodeHistoryGone     = "kv_history_gone"
)

const (
	cacheBytes    = 8 << 20
	memtableBytes = 1 << 20
	openFilesMax  = 256
)

// Options are the surroundings of a Store; the zero value is ready.
type Options struct {
	FS             vfs.FS // nil for the disk
	Log            *slog.Logger
	Now            func() time.Time
	DeadLettersMax int   // 0 for DeadLettersMax
	UndoBytesMax   int64 // 0 for UndoBytesMax
	// Copies says that there are copies of the store in an object store: hints name them.
	Copies bool

	readOnly bool
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
	fs    *freezing
	opts  Options
	log   *slog.Logger

	mu     sync.Mutex
	err    error // the first failure, or CodeClosed
	failed chan struct{}
	closed bool
	calls  sync.WaitGroup // calls into Pebble, waited for by Close
	writes atomic.Uint64
	pipes  map[string]*Pipeline

	listChanged atomic.Bool // Pebble's list of files, since the last look
	witness     witness
	reached     *reached   // nil until the store is open, and for one that is only read
	looking     sync.Mutex // guards witness
	exports     sync.Mutex // one at a time
}

// Open opens the store in dir, and creates both where they are missing. One
// process has a directory at a time. The error is a fault: CodeDirInUse,
// CodeDirUnwritable, CodeFormat, CodeCorrupt, CodeWriteFailed or
// CodeRestoreUnfinished.
func Open(dir string, o Options) (*Store, error) { return open(dir, o, false) }

func open(dir string, o Options, unfinished bool) (*Store, error) {
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
	if !unfinished {
		if err := s.checkRestored(); err != nil {
			return nil, errors.Join(err, s.lock.Close())
		}
	}
	if err := s.unseal(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.checkFormat(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.checkReached(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenReadOnly opens the store of a daemon that is stopped, and changes nothing;
// s is nil where there is no store. The error is Open's: CodeDirInUse while a
// daemon runs. What writes to the store fails, for good.
func OpenReadOnly(dir string, o Options) (s *Store, err error) {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	if d, err := pebble.Peek(dir, fs); err != nil || !d.Exists {
		if err := (&Store{dir: dir, opts: Options{FS: fs}}).checkRestored(); err != nil {
			return nil, err
		}
		return nil, nil // nothing is kept there yet, or never can be: Open says which
	}
	o.readOnly = true
	return Open(dir, o)
}

// Checkpoints returns how far each of the named pipelines has come, without
// changing anything; pipelines without a checkpoint, and a directory without a
// store, give none. The error is Open's: CodeDirInUse while a daemon runs.
func Checkpoints(dir string, names []string) (found map[string]Checkpoint, err error) {
	s, err := OpenReadOnly(dir, Options{})
	if err != nil || s == nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found = map[string]Checkpoint{}
	for _, name := range names {
		p, err := s.Pipeline(name)
		if err != nil {
			return nil, err
		}
		c, ok, err := p.Load()
		if err != nil {
			return nil, err
		}
		if ok {
			found[name] = c
		}
	}
	return found, nil
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

// unseal checks what the store was when it was closed, and breaks the seal where
// it is going to be written.
func (s *Store) unseal() error {
	if err := checkSeal(s.opts.FS, s.dir); err != nil {
		return s.corrupt(err)
	}
	if s.opts.readOnly {
		return nil
	}
	if err := breakSeal(s.opts.FS, s.dir); err != nil {
		return s.unwritable(err)
	}
	return nil
}

func (s *Store) unwritable(err error) error {
	return fault.New(fault.Environment, CodeDirUnwritable, s.dir,
		"create the directory and give it to the user that cdcd runs as, or set state.dir to another one",
		"the state directory can't be written: %w", err)
}

func (s *Store) open() error {
	s.cache = pebble.NewCache(cacheBytes)
	s.fs = newFreezing(s.opts.FS, s.dir, func(err error) { s.latch(s.diskFault(err)) })
	o := &pebble.Options{
		FS: s.fs, Lock: s.lock, Cache: s.cache, ReadOnly: s.opts.readOnly,
		MemTableSize: memtableBytes, MaxOpenFiles: openFilesMax,
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             logger{s},
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				s.latch(s.corrupt(fmt.Errorf("%s: %w", i.Path, i.Details)))
			},
			ManifestCreated: func(pebble.ManifestCreateInfo) { s.listChanged.Store(true) },
			FlushEnd:        func(pebble.FlushInfo) { s.listChanged.Store(true) },
			CompactionEnd:   func(pebble.CompactionInfo) { s.listChanged.Store(true) },
			BackgroundError: func(err error) {
				if !s.opts.readOnly && pebble.IsCorruptionError(err) { // who only reads finds it himself, and more
					s.latch(s.corrupt(err))
				}
			},
			DiskSlow: func(i pebble.DiskSlowInfo) {
				s.log.Warn("the disk of the state directory is slow", "path", i.Path, "took", i.Duration)
			},
		},
	}
	o.Experimental.CompactionScheduler = &compactor{well: func() bool { return s.Err() == nil }}
	db, err := pebble.Open(s.dir, o)
	if latched := s.Err(); latched != nil {
		if err == nil {
			_ = closeQuietly(db) // what it says rests on writes that did not happen
		}
		err = latched
	}
	if err == nil {
		s.db = db
		if err = s.look(); err == nil {
			return nil
		}
		_ = closeQuietly(db) // the first failure counts
	}
	s.cache.Unref()
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		return s.diskFault(err)
	}
	return s.corrupt(err)
}

// diskFault is the fault of a disk that refuses.
func (s *Store) diskFault(err error) error {
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return s.unwritable(err)
	}
	return s.writeFailed(err)
}

func (s *Store) corrupt(err error) error {
	hint := "cdcd checkpoint quarantine moves the state away and saves dead letters from it; then cdcd checkpoint restore brings an export back, or, where connectors keep no values, the next start takes positions from the streams"
	if s.opts.Copies {
		hint = "cdcd checkpoint quarantine moves the state away and saves dead letters from it; then cdcd checkpoint restore --remote brings the newest copy back that is whole, and the next start makes again what it lacks"
	}
	return fault.New(fault.Environment, CodeCorrupt, s.dir, hint, "the state directory is damaged: %w", err)
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
	if !ok && s.opts.readOnly {
		return nil // a daemon that was killed while it made the store
	}
	if !ok {
		return s.writeFormat()
	}
	if string(v) == formatBefore || string(v) == formatFirst {
		return s.upgrade(string(v))
	}
	if string(v) != formatVersion {
		return fault.New(fault.Environment, CodeFormat, s.dir,
			"use the version of cdcd that wrote it, or another state.dir",
			"the state directory has layout %q, this cdcd knows %q", v, formatVersion)
	}
	return nil
}

// writeFormat makes the version of the layout durable.
func (s *Store) writeFormat() error {
	if s.opts.readOnly {
		return nil
	}
	b := s.db.NewBatch()
	if err := b.Set(formatKey(), []byte(formatVersion), nil); err != nil {
		return s.writeFailed(err)
	}
	return s.commit(b)
}

// upgrade takes a store of an earlier layout to this one. What is there stays as it
// is and is read for ever. Layout 2 has the seal, which a cdcd that knows layout 1
// alone would leave behind on a directory that it has changed; layout 3 has the rows
// of dead letters apart, which one that knows layout 2 would take for damage.
func (s *Store) upgrade(from string) error {
	s.log.Info("the state directory is brought to a newer layout", "from", from, "to", formatVersion)
	return s.writeFormat()
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
	err := s.closeDB(failure == nil && !s.opts.readOnly)
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

// closeDB closes Pebble, and seals the directory of a store that is well.
func (s *Store) closeDB(well bool) error {
	var unsettled error
	if well {
		unsettled = settle(s.db)
	}
	err := closeQuietly(s.db)
	if s.reached != nil {
		err = errors.Join(err, s.reached.file.Close())
	}
	if s.fs.frozen.Load() {
		well = false
	}
	if err != nil || !well {
		return err
	}
	if unsettled == nil {
		unsettled = seal(s.opts.FS, s.dir)
	}
	if unsettled != nil { // as after a crash: nothing that was written is lost
		s.log.Warn("the state directory could not be sealed", "dir", s.dir, "error", unsettled)
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
	if err := s.write(b); err != nil {
		return err
	}
	return errors.Join(b.Close(), s.look())
}

// write is commit without giving the batch back.
func (s *Store) write(b *pebble.Batch) error {
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
	s.writes.Add(1)
	if s.reached == nil {
		return nil
	}
	if err := s.reached.note(b); err != nil {
		s.latch(s.writeFailed(err))
	}
	return s.Err()
}

// look puts on record what Pebble's list of files has become.
func (s *Store) look() error {
	if s.opts.readOnly || !s.listChanged.Swap(false) {
		return nil
	}
	s.looking.Lock()
	defer s.looking.Unlock()
	if err := s.witness.look(s.fs, s.dir); err != nil {
		s.latch(s.writeFailed(err))
	}
	return s.Err()
}

func (s *Store) apply(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	return s.db.Apply(b, pebble.Sync)
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
