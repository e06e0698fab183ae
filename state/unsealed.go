package state

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a crash leaves has no seal. Pebble reads its list of files, the manifest,
// to the first record that is not whole, takes that for the end that the crash has
// cut off, and deletes the files that the list does not have. So a list that is
// damaged before its end costs everything behind. What the list was when the store
// last looked, soon after each of its changes, is on record beside it.

// seenName is the file of that record.
const seenName = "SEEN"

// seen is how far a manifest was known to be whole and on disk.
type seen struct {
	Manifest string `json:"manifest"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"` // of those bytes
}

// witness follows the manifest of an open store.
type witness struct {
	seen
	sum hash.Hash
}

// look reads what the manifest has got since the last look, makes sure that it is
// on disk, and puts it on record.
func (w *witness) look(fs vfs.FS, dir string) (err error) {
	desc, err := pebble.Peek(dir, fs)
	if err != nil || !desc.Exists {
		return err
	}
	name := filepath.Base(desc.ManifestFilename)
	if name != w.Manifest {
		*w = witness{seen{Manifest: name}, newSum()}
	}
	f, err := fs.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	n, err := io.Copy(w.sum, io.NewSectionReader(f, w.Bytes, 1<<40))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	w.Bytes += n
	w.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	text, err := json.Marshal(w.seen)
	if err != nil {
		return err
	}
	return writeFile(fs, dir, seenName, text)
}

// checkUnsealed looks for what Pebble would go on without.
func checkUnsealed(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return err
	}
	if !desc.Exists {
		return checkNoStore(fs, dir)
	}
	f, err := fs.Open(filepath.Join(dir, seenName))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	var was seen
	if err := json.Unmarshal(text, &was); err != nil || was.Manifest == "" {
		return otherThanWritten(seenName, err)
	}
	name := filepath.Base(desc.ManifestFilename)
	if name > was.Manifest && len(name) >= len(was.Manifest) { // the crash came before the next look
		return nil
	}
	if name != was.Manifest {
		return fmt.Errorf("the list of files is %s, and was %s", name, was.Manifest)
	}
	list, err := fs.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	sum := newSum()
	n, err := io.Copy(sum, io.LimitReader(list, was.Bytes))
	if err := errors.Join(err, list.Close()); err != nil {
		return err
	}
	if n != was.Bytes || hex.EncodeToString(sum.Sum(nil)) != was.SHA256 {
		return fmt.Errorf("%s is not what it was: its first %d bytes", name, was.Bytes)
	}
	return nil
}

// checkNoStore refuses a directory with tables and logs that nothing names: a new
// store made there would delete them. A store that a crash kept from being made
// has none of either.
func checkNoStore(fs vfs.FS, dir string) error {
	files, err := storeFiles(fs, dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name); f.Bytes > 0 && (ext == ".sst" || ext == ".log") {
			return fmt.Errorf("%s is there, and nothing says whether it counts", f.Name)
		}
	}
	return nil
}
