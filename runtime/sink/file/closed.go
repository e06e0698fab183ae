package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Digits in the name of a closed file: of its number, and of that of the first
// message in it.
const (
	fileDigits    = 8
	messageDigits = 20
)

// closedFile is a file that has its last name, and is never written again.
type closedFile struct {
	name   string
	number uint64
	bytes  int64
	at     time.Time
	packed bool
}

// stem returns what the names of closed files begin and end with.
func (t *target) stem() (before, ext string) {
	base := filepath.Base(t.cfg.Path)
	ext = filepath.Ext(base)
	if before = strings.TrimSuffix(base, ext); before == "" {
		before, ext = base, ""
	}
	return before, ext
}

// closedName returns such as "changes-00000042-00000000000000012345.jsonl":
// names in their order are files in theirs.
func (t *target) closedName(number, first uint64) string {
	before, ext := t.stem()
	return fmt.Sprintf("%s-%0*d-%0*d%s", before, fileDigits, number, messageDigits, first, ext)
}

// parseClosed reads closedName's form, packed or not.
func (t *target) parseClosed(name string) (f closedFile, ok bool) {
	before, ext := t.stem()
	f.name = name
	for _, end := range []string{packEnd(packGzip), packEnd(packZstd)} {
		if s, cut := strings.CutSuffix(name, end); cut {
			name, f.packed = s, true
			break
		}
	}
	name, ok1 := strings.CutPrefix(name, before+"-")
	name, ok2 := strings.CutSuffix(name, ext)
	number, first, ok3 := strings.Cut(name, "-")
	if !ok1 || !ok2 || !ok3 || len(number) < fileDigits || len(first) != messageDigits {
		return f, false
	}
	var err, err2 error
	f.number, err = strconv.ParseUint(number, 10, 64)
	_, err2 = strconv.ParseUint(first, 10, 64)
	return f, err == nil && err2 == nil
}

// closedFiles returns the closed files that are still there, the oldest first.
func (t *target) closedFiles() ([]closedFile, error) {
	infos, err := t.disk.List(t.dir())
	if err != nil {
		return nil, err
	}
	var files []closedFile
	for _, info := range infos {
		if f, ok := t.parseClosed(info.Name()); ok && info.Mode().IsRegular() {
			f.bytes, f.at = info.Size(), info.ModTime()
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b closedFile) int { return strings.Compare(padded(a), padded(b)) })
	return files, nil
}

// padded orders also numbers that have outgrown their digits.
func padded(f closedFile) string { return fmt.Sprintf("%020d %s", f.number, f.name) }

func (t *target) beside(name string) string { return filepath.Join(t.dir(), name) }

// surplus returns which of the closed files go, the oldest first.
func surplus(k Keep, files []closedFile, now time.Time) []closedFile {
	var total int64
	for _, f := range files {
		total += f.bytes
	}
	n := 0
	for ; n < len(files); n++ {
		tooMany := k.Files > 0 && len(files)-n > k.Files
		tooLarge := k.Bytes > 0 && total > int64(k.Bytes)
		tooOld := k.Age > 0 && now.Sub(files[n].at) > k.Age.Std()
		if !tooMany && !tooLarge && !tooOld {
			break
		}
		total -= files[n].bytes
	}
	return files[:n]
}

// removeSurplus removes what need not be kept.
func (t *target) removeSurplus(files []closedFile) error {
	var errs []error
	for _, f := range surplus(t.cfg.Keep, files, t.env.Now()) {
		if err := t.disk.Remove(t.beside(f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
