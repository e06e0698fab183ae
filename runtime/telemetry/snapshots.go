package telemetry

import "time"

// SnapshotAsk is what a person asks to be copied while a pipeline runs.
type SnapshotAsk struct {
	Tables  []string `json:"tables"`            // db.table; * matches any characters
	Where   string   `json:"where,omitempty"`   // predicate in the server's SQL, for each of the tables
	Columns []string `json:"columns,omitempty"` // that are copied, beside the key; empty for all
}

// The states of a snapshot that was asked for.
const (
	SnapshotQueued     = "queued"     // others come first, or the pipeline does not stream
	SnapshotRunning    = "running"    // tables are read
	SnapshotPaused     = "paused"     // until somebody resumes it
	SnapshotDelivering = "delivering" // all is read, and not yet confirmed by the sink
	SnapshotCancelling = "cancelling" // nothing is read any more, and what was read is settled
	SnapshotDone       = "done"       // all is delivered
	SnapshotCancelled  = "cancelled"  // what was delivered stays
	SnapshotFailed     = "failed"     // Reason says why; what was delivered stays
)

// SnapshotRequest is a snapshot that was asked for, and how far it has come.
type SnapshotRequest struct {
	Pipeline string     `json:"pipeline"`
	ID       string     `json:"id"`
	State    string     `json:"state"`
	Asked    time.Time  `json:"asked,omitzero"`  // zero for the one that the configuration asks for, whose id is initial
	Ended    *time.Time `json:"ended,omitempty"` // nil for one that is not over
	Where    string     `json:"where,omitempty"`
	Columns  []string   `json:"columns,omitempty"`
	// Code, Reason and Hint are those of the fault that it failed with.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Adopted says that the state in which it was asked for is lost: it goes on as
	// the delivered messages tell.
	Adopted bool `json:"adopted,omitempty"`
	// The sums over its tables. RowsPerSecond and LeftSeconds are 0 while not known.
	Rows          uint64                 `json:"rows"`
	RowsEstimated uint64                 `json:"rows_estimated"`
	Chunks        uint64                 `json:"chunks"` // since the process started
	RowsPerSecond float64                `json:"rows_per_second"`
	LeftSeconds   float64                `json:"left_seconds"`
	Tables        []SnapshotRequestTable `json:"tables"`
}

// SnapshotRequestTable is a table of a snapshot that was asked for.
type SnapshotRequestTable struct {
	SnapshotTable
	State string `json:"state"` // "waiting", "copying" or "copied"
}

// SnapshotList is the snapshots that were asked for, those first that came first:
// all that are not over, and the last ones that are.
type SnapshotList struct {
	Snapshots []SnapshotRequest `json:"snapshots"`
}
