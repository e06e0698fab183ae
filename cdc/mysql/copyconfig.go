package mysql

import (
	"fmt"

	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// The words for what is done with what is in the tables already.
const (
	snapshotNever   = "never"
	snapshotInitial = "initial"
	snapshotOnly    = "only"
)

// The words for what happens when log is lost.
const (
	lostHalt       = "halt"
	lostResnapshot = "resnapshot"
)

// SnapshotOptions say how tables are copied.
type SnapshotOptions struct {
	// Workers is how many connections read tables at a time. Default 4.
	Workers int `yaml:"workers" doc:"connections that read tables at a time"`
	// ChunkBytes is the most that is held in memory before it can be handed on, by each
	// of them. Default 2MiB.
	ChunkBytes unit.Bytes `yaml:"chunk_bytes" doc:"most that each of them holds in memory"`
	// ThreadsRunningMax is how many threads the server may have at work before
	// reading tables pauses. Default 64; -1 for no limit.
	ThreadsRunningMax int `yaml:"threads_running_max" doc:"threads at work in the server beyond which reading tables pauses; -1 for no limit"`
	// Tables are those that are copied first, in this order, and that are copied
	// in part. The others follow, the largest first.
	Tables []SnapshotTable `yaml:"tables" doc:"tables to be copied first, or in part"`
}

// SnapshotTable says how some tables are copied.
type SnapshotTable struct {
	// Table is a pattern, as in Config.Tables.
	Table string `yaml:"table" doc:"pattern, as in tables"`
	// Where is a predicate in the server's SQL; other rows are not copied. Their
	// changes are streamed all the same.
	Where string `yaml:"where" doc:"predicate in the server's SQL: other rows are not copied"`
	// Columns are those that are copied, beside the key; empty for all.
	Columns []string `yaml:"columns" doc:"columns that are copied, beside the key; empty for all"`
}

func (t *SnapshotTable) matches(n snapshot.Name) bool {
	f, _ := tables.New([]string{t.Table})
	return f.Match(n.DB, n.Table)
}

func defaultSnapshot() SnapshotOptions {
	return SnapshotOptions{Workers: 4, ChunkBytes: 2 << 20, ThreadsRunningMax: 64}
}

func (o *SnapshotOptions) fill() {
	d := defaultSnapshot()
	if o.Workers == 0 {
		o.Workers = d.Workers
	}
	if o.ChunkBytes == 0 {
		o.ChunkBytes = d.ChunkBytes
	}
	if o.ThreadsRunningMax == 0 {
		o.ThreadsRunningMax = d.ThreadsRunningMax
	}
}

// validate tells what is wrong by refuse.
func (o *SnapshotOptions) validate(refuse func(code, path, hint, format string, args ...any)) {
	const code = "snapshot_options_invalid"
	if o.Workers < 1 || o.Workers > 64 {
		refuse(code, "snapshot_options.workers", "write a number from 1 to 64", "%d is out of range", o.Workers)
	}
	if o.ChunkBytes < 64<<10 || o.ChunkBytes > 64<<20 {
		refuse(code, "snapshot_options.chunk_bytes", "write a size from 64KiB to 64MiB", "%v is out of range", o.ChunkBytes)
	}
	for i, t := range o.Tables {
		if _, faults := tables.New([]string{t.Table}); len(faults) > 0 {
			refuse(code, fmt.Sprintf("snapshot_options.tables[%d].table", i), `write it as in tables: "db.table"`, "%q is not a pattern of a table's name", t.Table)
		}
	}
}
