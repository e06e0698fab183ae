package stdout

import (
	"bufio"
	"context"
	"io"
	"os"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/lines"
	"github.com/cdcd-io/cdcd/sdk"
)

// Config is what stands under `stdout:` in the configuration.
type Config struct {
	Format string `yaml:"format" doc:"format of the lines"`
}

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format }

// Kind returns the kind "stdout".
func Kind() sink.Kind {
	return sink.Kind{
		Name:      "stdout",
		NewConfig: func() any { return &Config{Format: "json"} },
		Open:      func(any, sink.Env) (sink.Sink, error) { return New(os.Stdout), nil },
	}
}

// New returns a sink that writes to w. Close does not close w.
func New(w io.Writer) sink.Sink { return lines.New(&out{w: bufio.NewWriterSize(w, 64<<10)}) }

// out is a lines.Target.
type out struct {
	w  *bufio.Writer
	at sink.Place // of the last message; empty where its group's base was exact
}

// exact is the token behind a message that has no place.
const exact = "-"

// Claim implements lines.Target: the checkpoint is all that is known. Inside a
// transaction its position is before the transaction, and its token has the place.
func (o *out) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	o.at = sink.Place{}
	if hint.Token == "" && hint.Position != "" {
		hint.Token, hint.Exact = exact, true
	}
	if hint.Token == "" {
		base, err := initial(ctx)
		return sink.Anchor{Base: base, Epoch: 1}, err
	}
	if hint.Token != exact {
		at, err := sink.ParsePlace(hint.Token)
		if err != nil {
			return sink.Anchor{}, fault.New(fault.Fatal, "bad_token", "stdout", "restore the checkpoint", "%w", err)
		}
		o.at = at
	}
	a := sink.Anchor{Base: hint.Position, Found: true, Epoch: 1, Messages: hint.Messages}
	if !hint.Exact {
		a.At = o.at
	}
	return a, nil
}

// Write implements lines.Target.
func (o *out) Write(g *sink.Group) (string, error) {
	for i := range g.Messages {
		m := &g.Messages[i]
		o.at = m.Place
		if m.Kind != sink.KindData {
			continue
		}
		_, _ = o.w.Write(m.Body) // the writer keeps its first error for Flush
		_ = o.w.WriteByte('\n')
	}
	if o.at.Tx == "" {
		return exact, nil
	}
	return o.at.String(), nil
}

// Flush implements lines.Target.
func (o *out) Flush() error {
	if err := o.w.Flush(); err != nil {
		return fault.New(fault.Environment, "stdout_closed", "stdout", "let what reads the output run on, or use the file sink", "write: %w", err)
	}
	return nil
}

// Close implements lines.Target.
func (o *out) Close() error { return o.w.Flush() }
