package file

import (
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Config is what stands under `file:` in the configuration.
type Config struct {
	Path     string      `yaml:"path" config:"path" doc:"file that lines are appended to; made if it is not there, in a folder that is"`
	Format   unit.Choice `yaml:"format" doc:"format of the lines, with its options where it has some: format: {debezium: {schemas: true}}"`
	Rotate   Rotate      `yaml:"rotate"`
	Compress string      `yaml:"compress" doc:"what closed files are packed with: none, gzip or zstd"`
	Keep     Keep        `yaml:"keep"`
	Sync     Sync        `yaml:"sync"`
}

// Rotate says when the file is closed and the next one begun.
type Rotate struct {
	Bytes unit.Bytes    `yaml:"bytes" doc:"the file is closed before it gets larger than this; 0 for no such bound"`
	Age   unit.Duration `yaml:"age" doc:"the file is closed this long after its first line; 0 for no such bound"`
}

// Keep says which closed files stay.
type Keep struct {
	Files int           `yaml:"files" doc:"how many closed files are kept; the oldest go; 0 for all"`
	Bytes unit.Bytes    `yaml:"bytes" doc:"bytes that closed files may have together; the oldest go; 0 for all"`
	Age   unit.Duration `yaml:"age" doc:"closed files older than this go; 0 for none"`
}

// Sync says how much shares a sync to disk, without which nothing is confirmed.
type Sync struct {
	Every unit.Duration `yaml:"every" doc:"lines wait this long for others that share their sync; 0 does not wait, and what comes during one sync shares the next"`
	Bytes unit.Bytes    `yaml:"bytes" doc:"lines of so many bytes are synced without waiting; no more than this is unconfirmed"`
}

// FormatName implements sink.Formatted.
func (c *Config) FormatName() string { return c.Format.Kind }

// FormatConfig implements sink.FormatConfigured.
func (c *Config) FormatConfig() any { return c.Format.Config }

// Values of the key compress, and what the names of packed files end with.
const (
	packNone = "none"
	packGzip = "gzip"
	packZstd = "zstd"
)

// Bounds of the configuration.
const (
	rotateBytesMin = 64 << 10
	rotateAgeMin   = time.Second
	keepAgeMin     = time.Minute
	syncEveryMax   = 10 * time.Second
	syncBytesMin   = 64 << 10
	syncBytesMax   = 64 << 20
)

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	var faults []*fault.Fault
	bad := func(path, hint, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, "sink_file", path, hint, format, args...))
	}
	if c.Path == "" {
		bad("path", "write the path of the file, such as changes.jsonl", "path is missing")
	}
	if b := c.Rotate.Bytes; b != 0 && b < rotateBytesMin {
		bad("rotate.bytes", "write 64KiB or more", "files of %v are too small", b)
	}
	if a := c.Rotate.Age; a != 0 && a.Std() < rotateAgeMin {
		bad("rotate.age", "write 1s or more", "%v is too short", a)
	}
	if c.Compress != packNone && c.Compress != packGzip && c.Compress != packZstd {
		bad("compress", "write none, gzip or zstd", "%q is unknown", c.Compress)
	}
	if c.Keep.Files < 0 || c.Keep.Bytes < 0 {
		bad("keep", "write a number from 1, or leave it out", "a negative number of files or bytes can't be kept")
	}
	if a := c.Keep.Age; a != 0 && a.Std() < keepAgeMin {
		bad("keep.age", "write 1m or more", "%v is too short", a)
	}
	if rotates := c.Rotate != (Rotate{}); !rotates && (c.Keep != (Keep{}) || c.Compress != packNone) {
		bad("rotate", "set rotate: {bytes: 256MiB}, or age", "without rotate no file is ever closed, so none is packed or removed")
	}
	if e := c.Sync.Every.Std(); e < 0 || e > syncEveryMax {
		bad("sync.every", "write 10s or less", "%v is too long", c.Sync.Every)
	}
	if b := c.Sync.Bytes; b < syncBytesMin || b > syncBytesMax {
		bad("sync.bytes", "write 64KiB to 64MiB", "%v can't be used", b)
	}
	return faults
}

// Kind returns the kind "file".
func Kind() sink.Kind {
	return sink.Kind{
		Name: "file",
		NewConfig: func() any {
			return &Config{Format: unit.Choice{Kind: "json"}, Compress: packNone, Sync: Sync{Bytes: 8 << 20}}
		},
		Open:    func(config any, env sink.Env) (sink.Sink, error) { return Open(*config.(*Config), env), nil },
		Examine: examine,
	}
}
