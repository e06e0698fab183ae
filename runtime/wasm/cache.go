package wasm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// cache is the directory of compiled code: one directory for each module
// digest, with wazero's files and a sum over them that is ours. wazero never
// sees an entry that does not match its sum: reading a damaged one fails for
// ever and leaks a mapping each time.
type cache struct {
	dir      string // empty for none
	bytesMax int64
}

const sumFile = "sum"

func openCache(dir string, bytesMax int64) (*cache, error) {
	if bytesMax == 0 {
		bytesMax = 1 << 30
	}
	if dir == "" {
		return &cache{}, nil
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Chmod(dir, 0o700) // what lies in there is executed
	}
	if err != nil {
		return nil, fault.New(fault.Environment, "code_cache", dir, "make the directory writable for the user that runs cdcd", "%w", err)
	}
	return &cache{dir: dir, bytesMax: bytesMax}, nil
}

// compile returns the module's program and the size of its entry. Trouble with
// the cache costs time and is no error.
func (c *cache) compile(ctx context.Context, digest string, module []byte) (program, int64, error) {
	if c.dir == "" {
		p, err := compile(ctx, module, "")
		return nilless(p), 0, err
	}
	dir := filepath.Join(c.dir, digest)
	sum, _, err := sumOf(dir)
	want, readErr := os.ReadFile(filepath.Join(dir, sumFile))
	known := err == nil && readErr == nil && string(want) == sum
	if !known {
		_ = os.RemoveAll(dir)
	}
	p, err := compile(ctx, module, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		p, err = compile(ctx, module, "") // is it the cache, or the module?
		return nilless(p), 0, err
	}
	if known {
		now := time.Now()
		_ = os.Chtimes(filepath.Join(dir, sumFile), now, now)
	}
	sum, size, err := sumOf(dir)
	if err == nil && !known {
		if os.WriteFile(filepath.Join(dir, sumFile), []byte(sum), 0o600) != nil {
			_ = os.RemoveAll(dir)
		}
		c.prune(digest)
	}
	return p, size, nil
}

// nilless keeps a nil *wazeroProgram from becoming a program that is not nil.
func nilless(p *wazeroProgram) program {
	if p == nil {
		return nil
	}
	return p
}

// sumOf returns the SHA-256 over the names and contents of an entry's files,
// and their size.
func sumOf(dir string) (sum string, size int64, err error) {
	hash := sha256.New()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == sumFile {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, _ = io.WriteString(hash, d.Name()+"\n")
		n, err := io.Copy(hash, f)
		size += n
		return err
	})
	if err == nil && size == 0 {
		err = errors.New("empty")
	}
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

// prune removes the entries used least recently until the rest fits, sparing
// the one in use.
func (c *cache) prune(spare string) {
	type entry struct {
		name string
		used time.Time
		size int64
	}
	var list []entry
	total := int64(0)
	dirs, _ := os.ReadDir(c.dir)
	for _, d := range dirs {
		_, size, _ := sumOf(filepath.Join(c.dir, d.Name()))
		e := entry{name: d.Name(), size: size}
		if info, err := os.Stat(filepath.Join(c.dir, d.Name(), sumFile)); err == nil {
			e.used = info.ModTime()
		}
		total += size
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return a.used.Compare(b.used) })
	for _, e := range list {
		if total <= c.bytesMax {
			return
		}
		if e.name != spare && os.RemoveAll(filepath.Join(c.dir, e.name)) == nil {
			total -= e.size
		}
	}
}
