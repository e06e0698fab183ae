package stdout

import (
	"bufio"
	"io"
	"os"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/lines"
)

// Config is what stands under `stdout:` in the configuration.
type Config struct {
	Format unit.Choice `yaml:"format" doc:"format of the lines, with its options where it has some: format: {debezium: {schemas: true}}"`
}

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format.Kind }

// FormatConfig implements sink.FormatConfigured.
func (c *Config) FormatConfig() any { return c.Format.Config }

// Kind returns the kind "stdout".
func Kind() sink.Kind {
	return sink.Kind{
		Name:      "stdout",
		NewConfig: func() any { return &Config{Format: unit.Choice{Kind: "json"}} },
		Open:      func(any, sink.Env) (sink.Sink, error) { return New(os.Stdout), nil },
	}
}

// New returns a sink that writes to w. Close does not close w.
func New(w io.Writer) sink.Sink {
	return lines.New(&out{lines.Cursor{Name: "stdout"}, bufio.NewWriterSize(w, 64<<10)})
}

// out is a lines.Target.
type out struct {
	lines.Cursor
	w *bufio.Writer
}

// Write implements lines.Target.
func (o *out) Write(g *sink.Group) (string, error) {
	for i := range g.Messages {
		m := &g.Messages[i]
		if m.Kind != sink.KindData || len(m.Body) == 0 { // a tombstone: a line has no key
			continue
		}
		_, _ = o.w.Write(m.Body) // the writer keeps its first error for Flush
		_ = o.w.WriteByte('\n')
	}
	return o.Token(g), nil
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
