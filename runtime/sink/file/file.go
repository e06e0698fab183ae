package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/lines"
	"github.com/cdcd-io/cdcd/sdk"
)

// Codes of this package's faults.
const (
	// CodeUnwritable: the file can't be opened, written or synced.
	CodeUnwritable = "file_unwritable"
	// CodeTruncated: the file is shorter than the checkpoint says.
	CodeTruncated = "file_truncated"
	// CodeUnknown: the file has content that no checkpoint speaks of.
	CodeUnknown = "file_unknown_content"
)

// Config is what stands under `file:` in the configuration.
type Config struct {
	Path   string `yaml:"path" config:"path" doc:"file that lines are appended to; made if it is not there"`
	Format string `yaml:"format" doc:"format of the lines"`
}

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format }

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	if c.Path == "" {
		return []*fault.Fault{fault.New(fault.Config, "sink_file", "path", "write the path of the file, such as changes.jsonl", "path is missing")}
	}
	return nil
}

// Kind returns the kind "file".
func Kind() sink.Kind {
	return sink.Kind{
		Name:      "file",
		NewConfig: func() any { return &Config{Format: "json"} },
		Open:      func(config any, _ sink.Env) (sink.Sink, error) { return Open(*config.(*Config)), nil },
	}
}

// Open returns a sink on the file; the file is opened by Claim.
func Open(cfg Config) sink.Sink { return lines.New(&target{path: cfg.Path}) }

// target is a lines.Target.
type target struct {
	path string
	f    *os.File
	w    *bufio.Writer
	size int64
	at   sink.Place // of the last message; empty where its group's base was exact
}

// Claim implements lines.Target. The token is "<length> <place>", or "<length>"
// where the last message had no place. The place is copied into each token, so
// that an empty group inside a transaction says where, too.
func (t *target) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	if err := t.Close(); err != nil {
		return sink.Anchor{}, t.unwritable(err)
	}
	f, err := os.OpenFile(t.path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return sink.Anchor{}, t.unwritable(err)
	}
	a, err := t.resume(ctx, f, hint, initial)
	if err != nil {
		return a, errors.Join(err, f.Close())
	}
	t.f, t.w = f, bufio.NewWriterSize(f, 256<<10)
	return a, nil
}

func (t *target) resume(ctx context.Context, f *os.File, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return sink.Anchor{}, t.unwritable(err)
	}
	if hint.Token == "" {
		if have > 0 {
			return sink.Anchor{}, fault.New(fault.Environment, CodeUnknown, t.path,
				"move the file away, or name another one", "the file has %d bytes, and no checkpoint speaks of them", have)
		}
		if hint.Position != "" { // nothing was confirmed since the first claim
			return sink.Anchor{Base: hint.Position, Epoch: 1}, nil
		}
		base, err := initial(ctx)
		return sink.Anchor{Base: base, Epoch: 1}, err
	}
	length, at, err := parseToken(hint.Token)
	if err != nil {
		return sink.Anchor{}, fault.New(fault.Fatal, "bad_token", t.path, "restore the checkpoint", "%w", err)
	}
	if have < length {
		return sink.Anchor{}, fault.New(fault.Environment, CodeTruncated, t.path,
			"restore the file; or begin anew: give the pipeline and its file new names",
			"the file has %d bytes, %d were confirmed", have, length)
	}
	if err := errors.Join(f.Truncate(length), f.Sync()); err != nil {
		return sink.Anchor{}, t.unwritable(err)
	}
	if _, err := f.Seek(length, io.SeekStart); err != nil {
		return sink.Anchor{}, t.unwritable(err)
	}
	t.size, t.at = length, at
	a := sink.Anchor{Base: hint.Position, Found: true, Epoch: 1, Messages: hint.Messages}
	if !hint.Exact {
		a.At = at
	}
	return a, nil
}

func parseToken(s string) (int64, sink.Place, error) {
	text, place, inside := strings.Cut(s, " ")
	length, err := strconv.ParseInt(text, 10, 64)
	if err != nil || length < 0 {
		return 0, sink.Place{}, fmt.Errorf("checkpoint token %q does not begin with a length", s)
	}
	if !inside {
		return length, sink.Place{}, nil
	}
	at, err := sink.ParsePlace(place)
	return length, at, err
}

// Write implements lines.Target.
func (t *target) Write(g *sink.Group) (string, error) {
	for i := range g.Messages {
		m := &g.Messages[i]
		t.at = m.Place
		if m.Kind != sink.KindData {
			continue
		}
		_, _ = t.w.Write(m.Body) // the writer keeps its first error for Flush
		_ = t.w.WriteByte('\n')
		t.size += int64(len(m.Body)) + 1
	}
	token := strconv.AppendInt(nil, t.size, 10)
	if t.at.Tx != "" {
		token = t.at.Append(append(token, ' '))
	}
	return string(token), nil
}

// Flush implements lines.Target.
func (t *target) Flush() error {
	if err := errors.Join(t.w.Flush(), t.f.Sync()); err != nil {
		return t.unwritable(err)
	}
	return nil
}

// Close implements lines.Target. What was not flushed is not confirmed, and
// the next claim cuts it off.
func (t *target) Close() error {
	if t.f == nil {
		return nil
	}
	err := t.f.Close()
	t.f, t.w, t.size, t.at = nil, nil, 0, sink.Place{}
	return err
}

func (t *target) unwritable(err error) error {
	return fault.New(fault.Environment, CodeUnwritable, t.path,
		"make the file writable for the user that runs cdcd, on a disk that has room", "%w", err)
}
