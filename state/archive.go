package state

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Codes of the faults of archives.
const (
	CodeArchiveDamaged = "archive_damaged"
	CodeDirOccupied    = "state_dir_occupied"
)

// An archive is a tar file of a store's files, and behind them, last, what they
// are: it is whole if that is there and right.
const (
	archiveManifest = "CDCD-STATE.json"
	archiveVersion  = 1
	exporting       = "exporting" // the folder of a copy under way
	manifestMax     = 16 << 20    // bytes
)

// archived describes an archive.
type archived struct {
	Version int            `json:"version"`
	Time    time.Time      `json:"time"`
	Files   []archivedFile `json:"files"`
}

type archivedFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Export writes a consistent copy of the store, as it is now, to w, as a tar file
// that Import takes. The store goes on meanwhile. One export runs at a time.
func (s *Store) Export(w io.Writer) error {
	s.exports.Lock()
	defer s.exports.Unlock()
	dir := filepath.Join(s.dir, exporting)
	if err := os.RemoveAll(dir); err != nil { // of one that was interrupted
		return archiveFault(dir, err)
	}
	if err := s.Copy(dir); err != nil {
		return err
	}
	err := writeArchive(w, dir, s.opts.Now())
	return errors.Join(err, archiveFault(dir, os.RemoveAll(dir)))
}

func writeArchive(w io.Writer, dir string, now time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return archiveFault(dir, err)
	}
	t, a := tar.NewWriter(w), archived{Version: archiveVersion, Time: now.UTC()}
	for _, e := range entries {
		if ours, _ := storeFile(e.Name()); !ours || !e.Type().IsRegular() {
			continue
		}
		f, err := archiveFile(t, dir, e.Name(), now)
		if err != nil {
			return archiveFault(e.Name(), err)
		}
		a.Files = append(a.Files, f)
	}
	text, err := json.Marshal(a)
	if err != nil {
		return archiveFault(dir, err)
	}
	err = t.WriteHeader(&tar.Header{Name: archiveManifest, Size: int64(len(text)), Mode: 0o600, ModTime: now})
	if err == nil {
		_, err = t.Write(text)
	}
	return archiveFault(dir, errors.Join(err, t.Close()))
}

func archiveFile(t *tar.Writer, dir, name string, now time.Time) (d archivedFile, err error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return d, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return d, err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Size: info.Size(), Mode: 0o600, ModTime: now}); err != nil {
		return d, err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(t, sum), io.LimitReader(f, info.Size()))
	return archivedFile{name, n, hex.EncodeToString(sum.Sum(nil))}, err
}

// Import brings an archive into dir, which MakeRoom makes room in, checks all of
// it, and marks each pipeline's checkpoint as restored. It returns when the copy
// was made and the pipelines in it. Until it is done, Open refuses the directory;
// after an error Import may be tried again. The error is CodeDirOccupied,
// CodeArchiveDamaged, or the disk's.
func Import(r io.Reader, dir string) (made time.Time, pipelines []string, err error) {
	if _, err := MakeRoom(dir, time.Now()); err != nil {
		return made, nil, err
	}
	if err := BeginRestore(dir); err != nil {
		return made, nil, archiveFault(dir, err)
	}
	if err := removeStore(dir); err != nil {
		return made, nil, archiveFault(dir, err)
	}
	a, err := readArchive(r, func(name string) (io.WriteCloser, error) {
		return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	})
	if err != nil {
		return made, nil, err
	}
	if pipelines, err = MarkRestored(dir); err != nil {
		return made, nil, err
	}
	return a.Time, pipelines, archiveFault(dir, EndRestore(dir))
}

// CheckArchive reads an archive and compares it with what it says of itself.
func CheckArchive(r io.Reader) (made time.Time, err error) {
	a, err := readArchive(r, func(string) (io.WriteCloser, error) { return nowhere{io.Discard}, nil })
	if err != nil {
		return made, err
	}
	return a.Time, nil
}

type nowhere struct{ io.Writer }

func (nowhere) Close() error { return nil }

// removeStore removes what an unfinished restore has left; folders are others'.
func removeStore(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ours, _ := storeFile(e.Name()); e.Type().IsRegular() && (ours || beside(e.Name())) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// readArchive hands each file of an archive to create and checks it all.
func readArchive(r io.Reader, create func(name string) (io.WriteCloser, error)) (a archived, err error) {
	t, got := tar.NewReader(r), map[string]archivedFile{}
	for {
		h, err := t.Next()
		if err != nil {
			return a, archiveDamaged("it ends before what says what is in it: %w", err)
		}
		if h.Name == archiveManifest {
			text, err := io.ReadAll(io.LimitReader(t, manifestMax))
			if err == nil {
				err = json.Unmarshal(text, &a)
			}
			if err != nil {
				return a, archiveDamaged("%s: %w", h.Name, err)
			}
			return a, checkArchived(a, got)
		}
		if ours, _ := storeFile(h.Name); !ours || h.Typeflag != tar.TypeReg || h.Name != filepath.Base(h.Name) {
			return a, archiveDamaged("%q is no file of a state", h.Name)
		}
		w, err := create(h.Name)
		if err != nil {
			return a, archiveFault(h.Name, err)
		}
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum), t)
		if f, ok := w.(*os.File); ok && err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, w.Close()); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return a, archiveDamaged("%s is cut off", h.Name)
			}
			return a, archiveFault(h.Name, err)
		}
		got[h.Name] = archivedFile{h.Name, n, hex.EncodeToString(sum.Sum(nil))}
	}
}

func checkArchived(a archived, got map[string]archivedFile) error {
	if a.Version != archiveVersion || len(a.Files) == 0 {
		return archiveDamaged("version %d with %d files", a.Version, len(a.Files))
	}
	for _, want := range a.Files {
		if got[want.Name] != want {
			return archiveDamaged("%s has other bytes than were written", want.Name)
		}
		delete(got, want.Name)
	}
	if len(got) > 0 {
		return archiveDamaged("it has %d files that it does not speak of", len(got))
	}
	return nil
}

func archiveDamaged(format string, args ...any) error {
	return fault.New(fault.Environment, CodeArchiveDamaged, "", "use another export: cdcd checkpoint verify says which are whole",
		"the archive is damaged: %w", fmt.Errorf(format, args...))
}

// archiveFault is the fault of a disk under an export or import; nil stays nil.
func archiveFault(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	return fault.New(fault.Environment, CodeWriteFailed, path, "free space, or check permissions; then try again", "%w", err)
}
