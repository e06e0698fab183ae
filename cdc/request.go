package cdc

import "context"

// TableName is a table's name as the server has it.
type TableName struct{ DB, Table string }

// String returns "db.table".
func (n TableName) String() string { return n.DB + "." + n.Table }

// SnapshotRequest is a copy of some tables that a person asked for while their
// changes are streamed.
type SnapshotRequest struct {
	// ID is a number above those of all requests before it; 0 for the copy that the
	// configuration asks for.
	ID     uint64
	Tables []TableName
	// Where is a predicate in the server's SQL, for each of the tables: other rows
	// are not copied. Empty for all rows.
	Where string
	// Columns are those that are copied, beside the key; empty for all.
	Columns []string
	// Paused says that it rests until somebody resumes it, Cancelled that nothing
	// more of it is to come.
	Paused, Cancelled bool
	// Rows is how many rows each of Tables has, by the server's estimate; nil where
	// nobody asked. A source that checks a request sets it.
	Rows []uint64
}

// SnapshotLedger keeps the requests of one pipeline. It is safe for concurrent
// use. Its errors are those of the state.
type SnapshotLedger interface {
	// Pending returns the requests that are not over, the oldest first, and what
	// is closed when there is something new about them. The list is the caller's.
	// While the copy that the configuration asks for is to rest, it comes first,
	// with the number 0, and paused.
	Pending() (requests []SnapshotRequest, changed <-chan struct{})
	// Found says that positions have a request begun and not finished that is not
	// pending: the state is an older one, or the sink has lost its tail. It becomes
	// pending, unless it is on record as cancelled or failed: then over says how it
	// ended, and is not nil.
	Found(r SnapshotRequest) (over *SnapshotEnd, err error)
	// Undone says that the sink has nothing of requests with numbers above past: it has
	// lost its tail. Those of them that are on record as done become pending again.
	Undone(past uint64) error
	// End makes durable how a request ended. One that is over stays as it is.
	End(id uint64, e SnapshotEnd) error
}

// SnapshotEnd is how a request ended.
type SnapshotEnd struct {
	Cancelled bool
	Err       error           // that it failed with; nil if it did not
	Tables    []SnapshotTable // how far each came; nil where that is not known any more
}

// SnapshotEvent is what has become of a copy of tables.
type SnapshotEvent uint8

// The events. Each is told once, in this order: a copy that has begun either ends
// or is given up. One that begins again, without having ended, begins anew.
const (
	SnapshotBegun     SnapshotEvent = iota // no row of it was told before
	SnapshotEnded                          // and none will be behind: all are told, by it or by the stream
	SnapshotCancelled                      // none will be behind, and not all are told
	SnapshotFailed                         // the same, because of a fault
)

// SnapshotNews is what is told of a copy of tables.
type SnapshotNews struct {
	Event SnapshotEvent
	// Request is its number; 0 for the copy that the configuration asks for.
	Request uint64
	// Tables are "db.table", and patterns of the configuration for its own copy.
	Tables  []string
	Where   string
	Columns []string
	Code    string // of the fault
}

// SnapshotConfigured is what a source has whose configuration may ask for a copy of
// its tables.
type SnapshotConfigured interface {
	// Copies reports whether it does.
	Copies() bool
}

// SnapshotRequester is what a source has that carries out the requests of
// Env.Requests.
type SnapshotRequester interface {
	// CheckSnapshot looks at a request before it is accepted: that the tables which
	// the patterns choose are there, followed, not being copied as the configuration
	// asks for, and can be copied, and that the server takes the predicate. It
	// returns the request with those tables, as the server writes them, and their
	// Rows. The error joins faults, each with its place.
	CheckSnapshot(ctx context.Context, patterns []string, r SnapshotRequest) (SnapshotRequest, error)
}

// SnapshotWork is how far a request has come that was begun.
type SnapshotWork struct {
	ID      uint64
	Running bool // it is the one that is being copied
	Tables  []SnapshotTableWork
}

// SnapshotTableWork is how far a table of a request has come.
type SnapshotTableWork struct {
	SnapshotTable
	Begun, Done bool
}
