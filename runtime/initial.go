package runtime

import (
	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// initialID is what the copy is called that the configuration asks for.
const initialID = "initial"

// copies reports whether the configuration asks for a copy. Of a stopped daemon that
// is not known.
func (s *Snapshots) copies() (is, known bool) {
	if s.source == nil {
		return false, false
	}
	c, ok := s.source.(cdc.SnapshotConfigured)
	return ok && c.Copies(), true
}

// wantInitial changes what is wanted of the copy that the configuration asks for.
func (s *Snapshots) wantInitial(w wish) (none telemetry.SnapshotRequest, err error) {
	if is, known := s.copies(); known && !is {
		return none, fault.New(fault.Config, CodeNoSuchSnapshot, initialID, "cdcd snapshot status lists those that there are",
			"the configuration asks for no copy of the tables: it has snapshot: never")
	}
	if w == toCancel {
		return none, fault.New(fault.Config, CodeSnapshotUnsupported, initialID,
			"to go on with the stream alone, start again with snapshot: never, which gives the copy up; to let it rest: cdcd snapshot pause CONFIG initial",
			"the copy is what the configuration asks for: it would begin again with the next start")
	}
	if s.source != nil && w == toPause {
		if p := s.source.Status().Snapshot; p != nil && p.Complete {
			return none, fault.New(fault.Config, CodeSnapshotOver, initialID, "ask for the tables anew: cdcd snapshot start", "the tables are copied")
		}
	}
	if err := s.kept.want(0, w); err != nil {
		return none, err
	}
	list, err := s.List()
	if err == nil && len(list.Snapshots) > 0 && list.Snapshots[0].ID == initialID {
		return list.Snapshots[0], nil
	}
	return telemetry.SnapshotRequest{Pipeline: s.pipeline, ID: initialID, State: telemetry.SnapshotQueued, Tables: []telemetry.SnapshotRequestTable{}}, err
}

// describeInitial tells of the copy that the configuration asks for: of the tables
// that are begun and not copied. ok is false where it asks for none; of a stopped daemon
// it is known only that it is to rest.
func (s *Snapshots) describeInitial(r *request, streams bool) (t telemetry.SnapshotRequest, ok bool) {
	if is, known := s.copies(); known && !is || !known && !r.Paused {
		return t, false
	}
	t = telemetry.SnapshotRequest{Pipeline: s.pipeline, ID: initialID, State: telemetry.SnapshotQueued, Adopted: r.Adopted, Tables: []telemetry.SnapshotRequestTable{}}
	var p *cdc.Snapshot
	if s.source != nil {
		p = s.source.Status().Snapshot
	}
	switch {
	case p != nil && p.Complete:
		t.State = telemetry.SnapshotDone
		return t, true
	case r.Paused:
		t.State = telemetry.SnapshotPaused
	case p != nil && streams:
		t.State = telemetry.SnapshotRunning
	}
	if p == nil || p.Request != 0 {
		return t, true
	}
	for _, row := range p.Tables {
		t.Tables = append(t.Tables, telemetry.SnapshotRequestTable{SnapshotTable: snapshotTable(row), State: "copying"})
		t.Rows, t.RowsEstimated, t.Chunks = t.Rows+row.Rows, t.RowsEstimated+max(row.Rows, row.RowsEstimated), t.Chunks+row.Chunks
		t.RowsPerSecond += row.RowsPerSecond
	}
	if t.State != telemetry.SnapshotRunning {
		t.RowsPerSecond = 0
	} else if t.RowsPerSecond > 0 {
		t.LeftSeconds = float64(t.RowsEstimated-t.Rows) / t.RowsPerSecond
	}
	return t, true
}
