package binlogfile

import (
	"fmt"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// filesMax bounds the files of one source.
const filesMax = 100_000

// Config is what stands under `source: binlog_files:`.
type Config struct {
	// Files are read in their order. They may be packed by gzip. A directory
	// stands for the log files in it, in the order of their numbers. The
	// configuration's loader takes a relative path from the configuration file's
	// directory.
	Files         []string   `yaml:"files" config:"path" doc:"binlog files in the order of the log, plain or packed by gzip; a directory stands for those in it"`
	Tables        []string   `yaml:"tables" doc:"followed tables: db.table, with * for any run of characters"`
	EventBytesMax unit.Bytes `yaml:"event_bytes_max" doc:"largest event; default 64MiB"`
	RateLimit     RateLimit  `yaml:"rate_limit" doc:"bounds the speed of reading"`
}

// RateLimit bounds how fast a source reads; 0 means no limit.
type RateLimit struct {
	RowsPerSecond  int64      `yaml:"rows_per_second" doc:"followed rows; 0 for no limit"`
	BytesPerSecond unit.Bytes `yaml:"bytes_per_second" doc:"bytes of log; 0 for no limit"`
}

// Validate checks what can be checked without the files.
func (c *Config) Validate() []*fault.Fault {
	_, faults := tables.New(c.Tables)
	refuse := func(code, path, hint, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, code, path, hint, format, args...))
	}
	if len(c.Files) == 0 || len(c.Files) > filesMax {
		refuse("files_invalid", "files", "name the binlog files to read, in their order, such as files: [binlog.000001, binlog.000002]",
			"%d files are named", len(c.Files))
	}
	var seen []string
	for i, f := range c.Files {
		path, name := fmt.Sprintf("files[%d]", i), base(f)
		switch {
		case f == "":
			refuse("files_invalid", path, "write the file's name", "an empty name")
		case slices.Contains(seen, name):
			faults = append(faults, twice(path, name))
		}
		seen = append(seen, name)
	}
	if c.EventBytesMax < 1<<20 || c.EventBytesMax > 1<<30 {
		refuse("event_bytes_max_invalid", "event_bytes_max", "write a size from 1MiB to 1GiB", "%v is out of range", c.EventBytesMax)
	}
	if c.RateLimit.RowsPerSecond < 0 {
		refuse("rate_limit_invalid", "rate_limit.rows_per_second", "write a number of rows, or leave it out", "a rate below 0")
	}
	return faults
}

// TableFilter returns the patterns of the tables that the source follows: what
// its messages depend on, besides the log.
func (c *Config) TableFilter() []string { return c.Tables }

// WithTableFilter returns a *Config that follows other tables.
func (c *Config) WithTableFilter(tables []string) any {
	other := *c
	other.Tables = tables
	return &other
}

// Kind is the source's kind: the key binlog_files.
func Kind() cdc.Kind {
	return cdc.Kind{
		Name:      "binlog_files",
		NewConfig: func() any { return &Config{EventBytesMax: binlog.EventBytesMax} },
		Open: func(config any, env cdc.Env) (cdc.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("binlogfile: a configuration of type %T", config)
			}
			return New(*c, env)
		},
	}
}
