package codecache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// run is the part of the directory that belongs to one process and goes with
// it. A lock on a file in it tells the living from the dead.
type run struct {
	dir  string
	lock *os.File // nil where there are no locks
}

const (
	runPrefix = "run-"
	lockFile  = "lock"
)

// openRun makes this process's part, and removes those of the dead. All who do
// that wait for each other, so that nobody is seen before it has its lock. On a
// full or read-only disk it lies elsewhere, and the dead have to wait.
func openRun(dir string) (*run, error) {
	if dir != "" {
		if r, err := openRunIn(dir); err == nil {
			return r, nil
		}
	}
	var errs []error
	for _, place := range elsewhere() {
		own, err := os.MkdirTemp(place, "cdcd-"+runPrefix)
		if err == nil {
			return &run{dir: own}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func openRunIn(dir string) (_ *run, err error) {
	all, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := lock(all, true); err != nil {
		return nil, err
	}
	sweep(dir)
	r := &run{}
	if r.dir, err = os.MkdirTemp(dir, runPrefix); err != nil {
		return nil, err
	}
	if r.lock, err = os.OpenFile(filepath.Join(r.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		err = lock(r.lock, false)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// sweep removes the parts of processes that are gone.
func sweep(dir string) {
	names, _ := os.ReadDir(dir)
	for _, d := range names {
		if !d.IsDir() || !strings.HasPrefix(d.Name(), runPrefix) {
			continue
		}
		path := filepath.Join(dir, d.Name())
		f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_RDWR, 0)
		if err == nil {
			err = lock(f, false)
			if errors.Is(err, errors.ErrUnsupported) && old(d) {
				err = nil
			}
			_ = f.Close()
		} else if os.IsNotExist(err) { // it died before it had one
			err = nil
		}
		if err == nil {
			_ = os.RemoveAll(path)
		}
	}
}

func old(d os.DirEntry) bool {
	info, err := d.Info()
	return err == nil && time.Since(info.ModTime()) > 24*time.Hour
}

func (r *run) close() error {
	err := os.RemoveAll(r.dir)
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}
