package file

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// packEnd returns what the names of packed files end with.
func packEnd(compress string) string {
	switch compress {
	case packGzip:
		return ".gz"
	case packZstd:
		return ".zst"
	}
	return ""
}

// tempSuffix is what the name of a file that is being packed ends with.
const tempSuffix = ".tmp"

// zstdWindow bounds the packer's memory, and that of who unpacks.
const zstdWindow = 1 << 20

// pack packs a closed file: under another name, synced, then under its own,
// before the plain one goes. A crash leaves at most both, or a part under the
// other name; the next round does it again.
func (t *target) pack(ctx context.Context, f closedFile) error {
	from, to := t.beside(f.name), t.beside(f.name+packEnd(t.cfg.Compress))
	temp := to + tempSuffix
	in, err := t.disk.Open(from, os.O_RDONLY)
	if err != nil {
		return err
	}
	out, err := t.disk.Open(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	w, err := t.packer(out)
	if err == nil {
		_, err = io.Copy(w, &untilDone{ctx, io.NewSectionReader(in, 0, f.bytes)})
		err = errors.Join(err, w.Close(), out.Sync())
	}
	if err = errors.Join(err, in.Close(), out.Close()); err != nil {
		return errors.Join(err, t.disk.Remove(temp))
	}
	if err := errors.Join(t.disk.Rename(temp, to), t.disk.SyncDir(t.dir())); err != nil {
		return err
	}
	return t.disk.Remove(from)
}

func (t *target) packer(w io.Writer) (io.WriteCloser, error) {
	switch t.cfg.Compress {
	case packGzip:
		return gzip.NewWriter(w), nil
	case packZstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	}
	return nil, fmt.Errorf("no packer %q", t.cfg.Compress)
}

// untilDone ends reading with the context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}

// removeParts removes what a crash left of packing.
func (t *target) removeParts() error {
	infos, err := t.disk.List(t.dir())
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range infos {
		name, temp := strings.CutSuffix(info.Name(), tempSuffix)
		if f, ok := t.parseClosed(name); temp && ok && f.packed {
			if err := t.disk.Remove(t.beside(info.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
