package state

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Quarantined is what became of a damaged store.
type Quarantined struct {
	Dir         string   `json:"dir"`          // where it is now
	DeadLetters int      `json:"dead_letters"` // saved into the new store
	Gaps        int      `json:"gaps"`         // saved into the new store
	Lost        []string `json:"lost,omitempty"`
}

// Quarantine moves a store away, into a folder of dir, and begins a new one with
// the dead letters and gaps of the named pipelines that could be read: nothing
// else has them. Checkpoints and connectors' values are not taken over, because
// what is left of them need not belong together: the sinks say where delivery
// stands, and pipelines whose connectors keep values halt until a copy is restored.
// The error is CodeDirInUse while a daemon runs, or the disk's.
func Quarantine(dir string, names []string, now time.Time, log *slog.Logger) (q Quarantined, err error) {
	lock, err := pebble.LockDirectory(dir, vfs.Default)
	if err != nil {
		_, err := Open(dir, Options{readOnly: true}) // says why
		if err == nil {
			err = archiveFault(dir, errors.New("the directory was locked a moment ago"))
		}
		return q, err
	}
	if err := lock.Close(); err != nil {
		return q, archiveFault(dir, err)
	}
	all := salvage(dir, names, &q)
	q.Dir = filepath.Join(dir, "quarantine-"+now.UTC().Format("20060102T150405Z"))
	if err := moveStore(dir, q.Dir); err != nil {
		return q, archiveFault(dir, err)
	}
	s, err := Open(dir, Options{Log: log})
	if err != nil {
		return q, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	b := s.db.NewBatch()
	for i, group := range all {
		for _, r := range group {
			if err := b.Set(r.key, r.value, nil); err != nil {
				return q, s.writeFailed(err)
			}
		}
		if b.Len() < savedStepSize && i < len(all)-1 {
			continue
		}
		if err := s.commit(b); err != nil {
			return q, err
		}
		b = s.db.NewBatch()
	}
	return q, nil
}

// moveStore moves a store's files; folders are others'.
func moveStore(dir, to string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		ours, _ := storeFile(e.Name())
		if !e.Type().IsRegular() || !ours && !beside(e.Name()) && e.Name() != restoring {
			continue
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// saved is what was read of a damaged store: records that belong together, which one
// write puts into the new store.
type saved []rawRecord

type rawRecord struct{ key, value []byte }

// savedStepSize is the size from which on no more is put into a write.
const savedStepSize = 4 << 20

// salvage reads dead letters and gaps as far as blocks can be read, from both
// ends of each range.
func salvage(dir string, names []string, q *Quarantined) (all []saved) {
	s := &Store{dir: dir, opts: Options{FS: vfs.Default, Log: slog.New(slog.DiscardHandler), Now: time.Now, readOnly: true},
		log: slog.New(slog.DiscardHandler), failed: make(chan struct{}), pipes: map[string]*Pipeline{}}
	if err := s.lockDir(); err != nil {
		q.lost("the store", err)
		return nil
	}
	if err := s.open(); err != nil {
		q.lost("the store", errors.Join(err, s.lock.Close()))
		return nil
	}
	defer func() { // what can't be read is said already
		_ = closeQuietly(s.db)
		s.cache.Unref()
		_ = s.lock.Close()
	}()
	for _, name := range names {
		gaps := s.salvageKind(name, kindGap, q)
		q.Gaps += len(gaps)
		all = append(all, gaps...)
		letters := s.salvageKind(name, kindDeadLetter, q)
		q.DeadLetters += len(letters)
		all = append(all, letters...)
	}
	return all
}

// lost takes note of what could not be read.
func (q *Quarantined) lost(what string, err error) {
	line, _, _ := strings.Cut(err.Error(), "\n")
	switch len(q.Lost) {
	case damageMax:
		q.Lost = append(q.Lost, "and more")
	case damageMax + 1:
	default:
		q.Lost = append(q.Lost, what+": "+line)
	}
}

// salvageKind reads one kind of a pipeline's records.
func (s *Store) salvageKind(name string, kind byte, q *Quarantined) (all []saved) {
	prefix := pipelineKey(name, kind)
	seen := map[string]bool{}
	take := func(next func(*pebble.Iterator) bool, first func(*pebble.Iterator) bool) error {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
		if err != nil {
			return err
		}
		for ok := first(it); ok; ok = next(it) {
			v, err := it.ValueAndErr()
			if err != nil || seen[string(it.Key())] {
				continue
			}
			seen[string(it.Key())] = true
			one := saved{rawRecord{append([]byte(nil), it.Key()...), append([]byte(nil), v...)}}
			if kind == kindGap && (len(v) == 0 || v[0] != valueVersion) {
				continue
			}
			if kind == kindDeadLetter {
				if one, err = s.salvageLetter(name, one); err != nil {
					q.lost("pipeline "+name, err)
					continue
				}
			}
			all = append(all, one)
		}
		return errors.Join(it.Error(), it.Close())
	}
	err := take((*pebble.Iterator).Next, (*pebble.Iterator).First)
	if err != nil {
		q.lost("pipeline "+name, err)
		_ = take((*pebble.Iterator).Prev, (*pebble.Iterator).Last) // the same damage, from the other side
	}
	return all
}

// salvageLetter adds the row of a dead letter to its record.
func (s *Store) salvageLetter(name string, one saved) (saved, error) {
	step, tx, n, err := cutDeadLetter(one[0].key[len(pipelineKey(name, kindDeadLetter)):])
	if err != nil {
		return nil, err
	}
	d, err := cutLetter(one[0].value)
	row := d.row
	if err == nil && row == nil {
		row, err = s.readBody(s.db, name, d.body)
	}
	if err == nil {
		err = d.open(row)
	}
	if err != nil {
		return nil, fmt.Errorf("dead letter %s: %w", DeadLetterKey{step, tx, n}, err)
	}
	if d.row == nil {
		for n, piece := range pieces(row) {
			one = append(one, rawRecord{bodyPieceKey(name, d.body.id, n), piece})
		}
	}
	return one, nil
}
