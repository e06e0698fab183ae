package binlogfile

import (
	"bufio"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// log is the files of a log in order.
type log []string

// base is the name by which positions call a file: without its directory, and
// without .gz, so that a file may be packed between two runs.
func base(path string) string { return strings.TrimSuffix(filepath.Base(path), ".gz") }

func (l log) base(i int) string { return base(l[i]) }

// index returns which file has the base name, or -1.
func (l log) index(name string) int {
	return slices.IndexFunc(l, func(f string) bool { return base(f) == name })
}

// list returns the files as they are now: a directory stands for the log files
// in it, in the order of their numbers. Faults: binlog_unreadable, files_invalid.
func (s *Source) list() (log, error) {
	var l log
	for i, name := range s.config.Files {
		path := fmt.Sprintf("files[%d]", i)
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, unreadable(name, err)
		case !info.IsDir():
			l = append(l, name)
		default:
			inside, err := directory(path, name)
			if err != nil {
				return nil, err
			}
			l = append(l, inside...)
		}
	}
	seen := map[string]bool{}
	for i := range l {
		if seen[l.base(i)] {
			return nil, twice("files", l.base(i))
		}
		seen[l.base(i)] = true
	}
	if len(l) > filesMax {
		return nil, fault.New(fault.Config, "files_invalid", "files", "give them to several pipelines", "%d files", len(l))
	}
	return l, nil
}

func unreadable(name string, err error) error {
	return fault.New(fault.Environment, "binlog_unreadable", name, "check the file's name and its permissions", "%w", err)
}

func twice(path, name string) *fault.Fault {
	return fault.New(fault.Config, "files_invalid", path, "give files of different servers to different pipelines",
		"the name %s is there twice: a position could not tell them apart", name)
}

// directory returns the log files in a directory: those whose names end in a
// number. A file that is there packed and plain counts once.
func directory(path, dir string) (l log, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, unreadable(dir, err)
	}
	type numbered struct {
		stem string
		n    uint64
		path string
	}
	var found []numbered
	for _, e := range entries {
		name := base(e.Name())
		ext := filepath.Ext(name)
		n, err := strconv.ParseUint(strings.TrimPrefix(ext, "."), 10, 64)
		if e.IsDir() || ext == "" || err != nil {
			continue
		}
		found = append(found, numbered{strings.TrimSuffix(name, ext), n, filepath.Join(dir, e.Name())})
	}
	slices.SortFunc(found, func(a, b numbered) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.path, b.path)) })
	for i, f := range found {
		switch {
		case f.stem != found[0].stem:
			return nil, fault.New(fault.Config, "files_invalid", path, "name the files one by one, or keep each log in a directory of its own",
				"the directory %s holds files of several logs: %s and %s", dir, filepath.Base(found[0].path), filepath.Base(f.path))
		case i > 0 && f.n == found[i-1].n: // the plain one came first
		default:
			l = append(l, f.path)
		}
	}
	if len(l) == 0 {
		return nil, fault.New(fault.Config, "files_invalid", path, "name a directory with binlog files, such as binlog.000001",
			"the directory %s holds no log files", dir)
	}
	return l, nil
}

// file is an open file and what it is read through.
type file struct {
	*binlog.FileReader
	f io.Closer
}

func (f *file) Close() error { return f.f.Close() }

// open opens a file, packed or not.
func (s *Source) open(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	in, err := unpacked(f, path)
	if err == nil {
		var r *binlog.FileReader
		if r, err = binlog.NewFileReader(in, path, int(s.config.EventBytesMax)); err == nil {
			return &file{r, f}, nil
		}
	}
	_ = f.Close() // it was only read
	return nil, err
}

// gzipMagic is what a packed file begins with.
const gzipMagic = "\x1f\x8b"

// unpacked returns the content of a file, which may be packed by gzip.
func unpacked(f io.Reader, path string) (io.Reader, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	if head, _ := in.Peek(len(gzipMagic)); string(head) != gzipMagic {
		return in, nil // an error comes again with the first read
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, damaged(path, err)
	}
	return &gzipReader{z, path}, nil
}

// gzipReader says of damage that it is in the packed file.
type gzipReader struct {
	z    *gzip.Reader
	path string
}

func (r *gzipReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if corrupt := flate.CorruptInputError(0); errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.As(err, &corrupt) {
		err = damaged(r.path, err)
	}
	return n, err
}

func damaged(path string, err error) error {
	return fault.New(fault.Fatal, binlog.CodeCorrupt, path, "copy the file again; gzip -t tells whether it is whole",
		"the packed file is damaged: %w", err)
}

// size returns the length of a file's content. A packed one is read for it.
func size(path string) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, unreadable(path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in, err := unpacked(f, path)
	if err != nil {
		return 0, err
	}
	if _, packed := in.(*gzipReader); packed {
		n, err = io.Copy(io.Discard, in)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // reading will say where
		}
		return n, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, unreadable(path, err)
	}
	return info.Size(), nil
}
