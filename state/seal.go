package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A directory that was closed in order is sealed: a file says which files the
// store has, how large they are, and what is in those that have no checksums of
// their own. Pebble alone can't tell a log or a list of files that was cut off
// from one that ended there, and would go on with an older state in silence.
//
// The seal is broken, for good, before anything is written again.

// sealName is the file's name.
const sealName = "SEAL"

// flushTimeout bounds the flush before a close; a disk that doesn't take it
// leaves the directory as a crash would.
const flushTimeout = 10 * time.Second

type sealed struct {
	Files []sealedFile `json:"files"`
	Sum   string       `json:"sum"` // SHA-256 of the files' lines
}

type sealedFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"` // of files without checksums of blocks
}

// storeFile reports whether a file of the directory is the store's, and whether
// its blocks have checksums that are looked at when they are read.
func storeFile(name string) (ours, checked bool) {
	switch {
	case strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"):
		return true, true
	case strings.HasSuffix(name, ".log"), strings.HasPrefix(name, "MANIFEST-"), strings.HasPrefix(name, "OPTIONS-"), strings.HasPrefix(name, "marker."):
		return true, false
	}
	return false, false
}

// beside reports whether a file is one that the store has beside Pebble's.
func beside(name string) bool { return name == sealName || name == seenName || name == reachedName }

// storeFiles describes the store's files, by name.
func storeFiles(fs vfs.FS, dir string) (files []sealedFile, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		ours, checked := storeFile(name)
		if !ours {
			continue
		}
		f, err := describeFile(fs, dir, name, !checked)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// describeFile returns a file's size and, if asked, its sum.
func describeFile(fs vfs.FS, dir, name string, sum bool) (d sealedFile, err error) {
	f, err := fs.Open(filepath.Join(dir, name))
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return d, err
	}
	d = sealedFile{Name: name, Bytes: info.Size()}
	if sum {
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return d, err
		}
		d.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	return d, nil
}

func sumOf(files []sealedFile) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d %s\n", f.Name, f.Bytes, f.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// settle writes what is in memory to tables, so that a sealed directory holds
// nothing but files with checksums.
func settle(db *pebble.DB) error {
	done, err := db.AsyncFlush()
	if err != nil {
		return err
	}
	timer := time.NewTimer(flushTimeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("a flush takes longer than %v", flushTimeout)
	}
}

// seal describes the directory of a store that was closed.
func seal(fs vfs.FS, dir string) error {
	files, err := storeFiles(fs, dir)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sealed{files, sumOf(files)})
	if err != nil {
		return err
	}
	return writeFile(fs, dir, sealName, text)
}

// writeFile puts a file into place, whole and on disk.
func writeFile(fs vfs.FS, dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	f, err := fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(fs.Rename(path+".new", path), syncDirOf(fs, dir))
}

func newSum() hash.Hash { return sha256.New() }

// checkSeal compares a sealed directory with its seal, and looks through one that
// was not closed in order and has none.
func checkSeal(fs vfs.FS, dir string) error {
	path := filepath.Join(dir, sealName)
	f, err := fs.Open(path)
	if err != nil {
		return checkUnsealed(fs, dir)
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	var s sealed
	if err := json.Unmarshal(text, &s); err != nil || s.Sum != sumOf(s.Files) {
		return otherThanWritten(path, err)
	}
	for _, want := range s.Files {
		got, err := describeFile(fs, dir, want.Name, want.SHA256 != "")
		if err != nil {
			return fmt.Errorf("%s was there when the store was closed: %w", want.Name, err)
		}
		if got != want {
			return fmt.Errorf("%s has other bytes than when the store was closed: %d, were %d", want.Name, got.Bytes, want.Bytes)
		}
	}
	return nil
}

// otherThanWritten is the error of a file that is no JSON, or other JSON than it was.
func otherThanWritten(path string, err error) error {
	if err == nil {
		err = errValue
	}
	return fmt.Errorf("%s is not what was written: %w", path, err)
}

// breakSeal takes the seal away before the store is written to.
func breakSeal(fs vfs.FS, dir string) error {
	path := filepath.Join(dir, sealName)
	if _, err := fs.Stat(path); err != nil {
		return nil
	}
	return errors.Join(fs.Remove(path), syncDirOf(fs, dir))
}

func syncDirOf(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
