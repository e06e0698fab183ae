package codecache

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Copy is content in a file that this process alone can reach. It is written
// to, placed, and then read by way of its path.
type Copy struct {
	cache *Cache
	file  *os.File
	dir   string // made by place
	name  string
	size  int64
}

// NewCopy returns an empty Copy, to be closed.
func (c *Cache) NewCopy() (*Copy, error) {
	f, err := anonymous(c.run.dir)
	if err != nil {
		return nil, err
	}
	return &Copy{cache: c, file: f}, nil
}

// Write adds to the content.
func (p *Copy) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	return n, err
}

// Size returns the bytes of the content.
func (p *Copy) Size() int64 { return p.size }

// Dir returns the directory in which the content is under its name.
func (p *Copy) Dir() string { return p.dir }

// Place takes what was written from in as the content under name, a path of two
// parts, and ends the writing.
func (p *Copy) Place(name string, in io.Reader) error {
	if !goodName(name) {
		return errors.New("a name of two parts is needed")
	}
	if _, err := io.Copy(p, in); err != nil {
		return err
	}
	return p.place(name)
}

func (p *Copy) place(name string) (err error) {
	p.name = name
	if p.dir, err = os.MkdirTemp(p.cache.run.dir, "code-"); err != nil {
		return err
	}
	path := filepath.Join(p.dir, filepath.FromSlash(name))
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return expose(p.file, path)
}

func (p *Copy) reader() io.Reader { return io.NewSectionReader(p.file, 0, p.size) }

// Close gives the content up.
func (p *Copy) Close() {
	_ = p.file.Close()
	_ = os.Remove(p.file.Name()) // where it has one
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}
