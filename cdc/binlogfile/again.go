package binlogfile

import (
	"context"
	"errors"
	"io"

	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// again reads a part of a file a second time. It implements assemble.Log.
type again struct {
	s     *Source
	files log
}

// Files lists the files.
func (g again) Files(context.Context) (names []string, err error) {
	for i := range g.files {
		names = append(names, g.files.base(i))
	}
	return names, nil
}

// Reread reads the file in which a transaction was prepared from there on.
func (g again) Reread(ctx context.Context, p *position.Prepared, f func(raw []byte) (bool, error)) (err error) {
	i := g.files.index(p.File)
	if i < 0 {
		return fault.New(fault.Config, "position_purged", p.File, "add the file to files", "the file is not among the files")
	}
	r, err := g.s.open(g.files[i])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for first := true; ; first = false {
		raw, at, err := r.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !first && uint64(at) < p.Pos:
			continue
		}
		if more, err := f(raw); err != nil || !more {
			return err
		}
	}
}
