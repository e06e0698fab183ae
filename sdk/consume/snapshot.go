package consume

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// SnapshotEvent is what has become of a copy of tables.
type SnapshotEvent string

// The events. A copy begins once, and is then over once, by one of the others;
// whatever is killed meanwhile. One that begins again without having been over
// begins anew: what it has told counts for nothing.
const (
	SnapshotBegin SnapshotEvent = "snapshot_begin"
	// SnapshotEnd: every row that there is was told since the beginning, by the copy
	// or as a change.
	SnapshotEnd SnapshotEvent = "snapshot_end"
	// SnapshotCancelled and SnapshotFailed: no more rows of it come, and some are
	// missing.
	SnapshotCancelled SnapshotEvent = "snapshot_cancelled"
	SnapshotFailed    SnapshotEvent = "snapshot_failed"
)

func (e SnapshotEvent) known() bool {
	return slices.Contains([]SnapshotEvent{SnapshotBegin, SnapshotEnd, SnapshotCancelled, SnapshotFailed}, e)
}

// Snapshot is what is told of a copy of tables. Its rows have Op Read, and lie
// between its beginning and its end; changes of the same rows lie among them.
type Snapshot struct {
	Event SnapshotEvent `json:"kind"`
	// ID is that of `cdcd snapshot start`, or "initial" for the copy that the
	// pipeline's configuration asks for.
	ID string `json:"snapshot"`
	// Tables are "db.table"; for the initial copy the configuration's patterns.
	Tables []string `json:"tables"`
	// Where is the predicate, in the server's SQL: other rows are not copied. Columns
	// are those that are copied beside the key; empty for all.
	Where   string   `json:"where"`
	Columns []string `json:"columns"`
	Code    string   `json:"code"` // of the fault that it failed with
}

// parseSnapshot reads the body of a message about a copy.
func parseSnapshot(body []byte) (*Snapshot, error) {
	s := &Snapshot{}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("what is told of a snapshot: %w", err)
	}
	if s.ID == "" || !s.Event.known() {
		return nil, fmt.Errorf("what is told of a snapshot is %.100q", body)
	}
	return s, nil
}

// Snapshot returns the id of the copy of tables that a row was read for, as
// Snapshot.ID has it; ok is false for a row of the log.
func (p Place) Snapshot() (id string, ok bool) {
	rest, ok := strings.CutPrefix(p.Tx, "snapshot/")
	switch parts := strings.Split(rest, "/"); { // neither ids, tables nor keys have a slash
	case !ok:
		return "", false
	case len(parts) == 4:
		return parts[0], true
	}
	return initialSnapshot, true
}

const initialSnapshot = "initial"
