package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// CodeRestoreUnfinished is the code of the fault of a directory into which a
// store was being restored when that was interrupted.
const CodeRestoreUnfinished = "restore_unfinished"

// restoring is the name of the file that is in a directory while a store is
// restored into it.
const restoring = "RESTORING"

// Foreign reports whether a file of the state directory is not the store's own,
// and stays when the store is replaced.
func Foreign(name string) bool { return name == restoring || name == "LOCK" }

// Copy writes a consistent copy of the store, as it is now, into dir, which must
// not exist and be on the same file system: files that never change are hard
// links. The store goes on meanwhile. A copy that failed is removed.
func (s *Store) Copy(dir string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return errors.Join(fault.New(fault.Retryable, CodeWriteFailed, dir,
			"make room on the disk of state.dir", "copy the state: %w", err), s.opts.FS.RemoveAll(dir))
	}
	return nil
}

// Writes counts the writes since Open: a copy made at the same number is the same.
func (s *Store) Writes() uint64 { return s.writes.Load() }

// Dir is where the store is.
func (s *Store) Dir() string { return s.dir }

// Exists reports whether there is a store in dir, also one that is damaged, or
// one whose restoring was interrupted.
func Exists(dir string) bool {
	d, err := pebble.Peek(dir, vfs.Default)
	return err == nil && d.Exists
}

// Interrupted reports whether a store was being restored into dir, and that did
// not come to its end.
func Interrupted(dir string) bool {
	_, err := vfs.Default.Stat(filepath.Join(dir, restoring))
	return err == nil
}

// MakeRoom makes room for a store that is to be restored into dir. One that no
// pipeline has run with, as Quarantine leaves it, and files that belong to none, are
// moved into a folder of dir, the name of which is returned: the dead letters that
// Quarantine saved, the copy has or the next start makes again. Any other store is
// CodeDirOccupied, or the fault that it can't be opened for.
func MakeRoom(dir string, now time.Time) (moved string, err error) {
	if Interrupted(dir) {
		return "", nil
	}
	if !Exists(dir) { // or what is left of one
		return moveAway(dir, now)
	}
	s, err := Open(dir, Options{readOnly: true})
	if err != nil {
		return "", err
	}
	names, err := s.withCheckpoint()
	if err = errors.Join(err, s.Close()); err != nil {
		return "", err
	}
	if len(names) > 0 {
		return "", fault.New(fault.Environment, CodeDirOccupied, dir,
			"cdcd checkpoint quarantine moves what is there away; or set state.dir to an empty directory", "there is a state in the directory already")
	}
	return moveAway(dir, now)
}

// moveAway moves what there is of a store into a folder.
func moveAway(dir string, now time.Time) (moved string, err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	files, err := storeFiles(vfs.Default, dir)
	if err != nil || len(files) == 0 {
		return "", archiveFault(dir, err)
	}
	moved = filepath.Join(dir, "before-restore-"+now.UTC().Format("20060102T150405.000Z"))
	return moved, archiveFault(dir, moveStore(dir, moved))
}

// BeginRestore notes in dir, which it creates, that a store is being restored
// into it: until EndRestore, Open refuses the directory.
func BeginRestore(dir string) error {
	fs := vfs.Default
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := fs.Create(filepath.Join(dir, restoring), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(dir))
}

// EndRestore takes the note of BeginRestore away, once everything is in place.
func EndRestore(dir string) error {
	return errors.Join(syncDir(dir), vfs.Default.Remove(filepath.Join(dir, restoring)), syncDir(dir))
}

func syncDir(dir string) error {
	d, err := vfs.Default.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkRestored refuses a directory that a store is being restored into.
func (s *Store) checkRestored() error {
	if _, err := s.opts.FS.Stat(filepath.Join(s.dir, restoring)); err != nil {
		return nil // it is not there
	}
	return fault.New(fault.Environment, CodeRestoreUnfinished, s.dir,
		"restore again: cdcd checkpoint restore with the export, or with --remote; with state.replicate a start does it by itself", "a store was being restored into the state directory, and that was interrupted")
}

// MarkRestored opens the store in dir, reads all of it, and marks each
// pipeline's checkpoint: what the store lacks, because it is an earlier state
// than the sink's, is then made again from the log. It returns the pipelines'
// names.
func MarkRestored(dir string) (names []string, err error) {
	s, err := open(dir, Options{}, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.markRestored()
}

// withCheckpoint returns the names of the pipelines that have one.
func (s *Store) withCheckpoint() (names []string, err error) {
	err = s.each(nil, func(key, _ []byte) error {
		name, kind, ok := cutPipeline(key)
		if ok && kind == kindCheckpoint {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// Lacks returns those of the named pipelines that have no checkpoint.
func (s *Store) Lacks(names []string) (lacking []string, err error) {
	for _, name := range names {
		_, ok, err := s.get(pipelineKey(name, kindCheckpoint))
		if err != nil {
			return nil, err
		}
		if !ok {
			lacking = append(lacking, name)
		}
	}
	return lacking, nil
}

// markRestored marks each pipeline's checkpoint, and returns the pipelines' names.
func (s *Store) markRestored() ([]string, error) {
	names, err := s.withCheckpoint()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := s.Pipeline(name)
		if err != nil {
			return nil, err
		}
		c, _, err := p.Load()
		if err != nil {
			return nil, err
		}
		c.Restored = true
		v, err := encodeJSON(&c)
		if err != nil {
			return nil, s.writeFailed(err)
		}
		if err := p.set(pipelineKey(name, kindCheckpoint), v); err != nil { // and nothing else
			return nil, fmt.Errorf("pipeline %s: %w", name, err)
		}
	}
	return names, nil
}
