package runtime

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

// Codes of faults about snapshots that are asked for.
const (
	CodeNoSuchSnapshot      = "no_such_snapshot"
	CodeSnapshotRunning     = "snapshot_running"
	CodeSnapshotOver        = "snapshot_over"
	CodeSnapshotsFull       = "snapshot_requests_full"
	CodeSnapshotLarge       = "snapshot_request_large"
	CodeSnapshotUnsupported = "snapshot_unsupported"
	CodeNotRunning          = "pipeline_not_running"
)

// Snapshots are the copies of tables that people ask one pipeline for, of a
// running daemon or of the state of a stopped one. It is safe for concurrent use.
type Snapshots struct {
	pipeline string
	kept     *requests
	source   cdc.Source         // nil where no daemon runs, or the pipeline could not be built
	running  *pipeline.Pipeline // likewise
}

// OpenSnapshots returns the snapshots that were asked for in a store whose daemon
// is stopped: they can be looked at, paused, resumed and cancelled.
func OpenSnapshots(s *state.Store, pipeline string) (*Snapshots, error) {
	kept, err := openRequests(s, pipeline, time.Now)
	if err != nil {
		return nil, err
	}
	return &Snapshots{pipeline: pipeline, kept: kept}, nil
}

// Snapshots returns those of a pipeline. The error is a fault:
// CodeNoSuchPipeline, or that of the state.
func (d *Daemon) Snapshots(name string) (*Snapshots, error) {
	store, err := d.opened()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j.config.Name != name {
			continue
		}
		if err := j.openRequests(store, d.o.Now); err != nil {
			return nil, err
		}
		return &Snapshots{name, j.requests, j.source, j.pipeline}, nil
	}
	return nil, fault.New(fault.Config, CodeNoSuchPipeline, name, "GET /v1/pipelines lists them", "there is no pipeline %q", name)
}

// openRequests opens the ledger of a pipeline's requests, once. The caller holds
// the daemon's lock.
func (j *job) openRequests(s *state.Store, now func() time.Time) error {
	if j.requests != nil {
		return nil
	}
	q, err := openRequests(s, j.config.Name, now)
	if err == nil { // what could be read of a damaged one is not the ledger
		j.requests = q
	}
	return err
}

// requestsOf returns the ledger of a pipeline's requests.
func (d *Daemon) requestsOf(name string, s *state.Store) (*requests, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j.config.Name == name {
			err := j.openRequests(s, d.o.Now)
			return j.requests, err
		}
	}
	return nil, fault.New(fault.Config, CodeNoSuchPipeline, name, "GET /v1/pipelines lists them", "there is no pipeline %q", name)
}

// Start checks what is asked for against the server, and makes it durable before
// it returns. The copying begins when those before it are done. The error joins
// faults: those of cdc.SnapshotRequester.CheckSnapshot, CodeSnapshotRunning,
// CodeSnapshotsFull, CodeSnapshotLarge, CodeSnapshotUnsupported, CodeNotRunning.
func (s *Snapshots) Start(ctx context.Context, ask telemetry.SnapshotAsk) (telemetry.SnapshotRequest, error) {
	var none telemetry.SnapshotRequest
	if s.source == nil {
		return none, fault.New(fault.Environment, CodeNotRunning, s.pipeline, "start it (cdcd run), or mend what keeps it from running, then ask again",
			"the pipeline does not run, so nobody can look at the tables")
	}
	checker, ok := s.source.(cdc.SnapshotRequester)
	if !ok {
		return none, fault.New(fault.Config, CodeSnapshotUnsupported, s.pipeline, "ask a pipeline whose source is a database", "the pipeline's source has no tables to read")
	}
	r, err := checker.CheckSnapshot(ctx, ask.Tables, cdc.SnapshotRequest{Where: strings.TrimSpace(ask.Where), Columns: ask.Columns})
	if err != nil {
		return none, err
	}
	past := uint64(0)
	if p := s.source.Status().Snapshot; p != nil {
		past = p.Past
	}
	id, err := s.kept.add(request{Tables: r.Tables, Where: r.Where, Columns: r.Columns, Estimates: r.Rows}, past)
	if err != nil {
		return none, err
	}
	return s.Show(requestID(id))
}

// List returns all that are not over and the last ones that are, those first that
// were asked for first; before them the copy that the configuration asks for.
func (s *Snapshots) List() (telemetry.SnapshotList, error) {
	list := telemetry.SnapshotList{Snapshots: []telemetry.SnapshotRequest{}}
	work, streams := s.work()
	initial, all := s.kept.list()
	if r, ok := s.describeInitial(&initial, streams); ok {
		list.Snapshots = append(list.Snapshots, r)
	}
	for _, r := range all {
		list.Snapshots = append(list.Snapshots, s.describe(&r, work, streams))
	}
	return list, nil
}

// Show returns one. Fault: CodeNoSuchSnapshot.
func (s *Snapshots) Show(id string) (telemetry.SnapshotRequest, error) {
	all, err := s.List()
	if err != nil {
		return telemetry.SnapshotRequest{}, err
	}
	for _, r := range all.Snapshots {
		if r.ID == id {
			return r, nil
		}
	}
	return telemetry.SnapshotRequest{}, noSnapshot(id)
}

// Pause lets one rest until Resume, also over restarts. Faults:
// CodeNoSuchSnapshot, CodeSnapshotOver.
func (s *Snapshots) Pause(id string) (telemetry.SnapshotRequest, error) {
	return s.want(id, toPause)
}

// Resume ends a pause. Faults: as Pause.
func (s *Snapshots) Resume(id string) (telemetry.SnapshotRequest, error) {
	return s.want(id, toResume)
}

// Cancel ends one: nothing more of it is read. What was read and is on its way
// is delivered, and what was delivered stays. Faults: as Pause.
func (s *Snapshots) Cancel(id string) (telemetry.SnapshotRequest, error) {
	return s.want(id, toCancel)
}

func (s *Snapshots) want(id string, w wish) (telemetry.SnapshotRequest, error) {
	if id == initialID {
		return s.wantInitial(w)
	}
	n, err := strconv.ParseUint(id, 36, 64)
	if err != nil || requestID(n) != id {
		return telemetry.SnapshotRequest{}, noSnapshot(id)
	}
	if err := s.kept.want(n, w); err != nil {
		return telemetry.SnapshotRequest{}, err
	}
	return s.Show(id)
}

// requestID is a request's number as people see it.
func requestID(id uint64) string { return strconv.FormatUint(id, 36) }

func noSnapshot(id string) error {
	return fault.New(fault.Config, CodeNoSuchSnapshot, id, "cdcd snapshot status lists them", "no such snapshot was asked for")
}

// work returns what the source tells of requests that are begun, and whether the
// pipeline streams.
func (s *Snapshots) work() (work []cdc.SnapshotWork, streams bool) {
	if s.running == nil {
		return nil, false
	}
	st := s.running.Status()
	if st.Source.Snapshot != nil {
		work = st.Source.Snapshot.Requests
	}
	return work, st.State == pipeline.StateStreaming
}

// describe tells of a request as people and programs are shown it.
func (s *Snapshots) describe(r *request, all []cdc.SnapshotWork, streams bool) telemetry.SnapshotRequest {
	t := telemetry.SnapshotRequest{Pipeline: s.pipeline, ID: requestID(r.id), Asked: r.Asked, Where: r.Where, Columns: r.Columns,
		Code: r.Code, Reason: r.Reason, Hint: r.Hint, Adopted: r.Adopted, Tables: make([]telemetry.SnapshotRequestTable, len(r.Tables))}
	if !r.Ended.IsZero() {
		t.Ended = &r.Ended
	}
	var work *cdc.SnapshotWork
	if i := slices.IndexFunc(all, func(w cdc.SnapshotWork) bool { return w.ID == r.id }); i >= 0 {
		work = &all[i]
	}
	for i, name := range r.Tables {
		row := &t.Tables[i]
		row.Table, row.State = name.String(), "waiting"
		if i < len(r.Estimates) {
			row.RowsEstimated = r.Estimates[i]
		}
		if work != nil && r.Over == "" {
			tell(row, work.Tables, name)
		}
		for _, c := range r.Copied {
			if c.DB == name.DB && c.Table == name.Table {
				row.SnapshotTable = snapshotTable(c)
			}
		}
		if r.Over == telemetry.SnapshotDone {
			row.State = "copied"
		}
		t.Rows, t.RowsEstimated, t.Chunks = t.Rows+row.Rows, t.RowsEstimated+max(row.Rows, row.RowsEstimated), t.Chunks+row.Chunks
		t.RowsPerSecond += row.RowsPerSecond
	}
	t.State = wordFor(r, work, streams)
	if t.State != telemetry.SnapshotRunning {
		t.RowsPerSecond = 0
	} else if t.RowsPerSecond > 0 {
		t.LeftSeconds = float64(t.RowsEstimated-t.Rows) / t.RowsPerSecond
	}
	return t
}

// wordFor is the state of a request.
func wordFor(r *request, work *cdc.SnapshotWork, streams bool) string {
	handedOn := work != nil && !slices.ContainsFunc(work.Tables, func(t cdc.SnapshotTableWork) bool { return !t.Done })
	switch {
	case r.Over != "":
		return r.Over
	case handedOn:
		return telemetry.SnapshotDelivering
	case r.Cancelled:
		return telemetry.SnapshotCancelling
	case r.Paused:
		return telemetry.SnapshotPaused
	case work != nil && work.Running && streams:
		return telemetry.SnapshotRunning
	}
	return telemetry.SnapshotQueued
}

// tell tells how far a table of a request has come that is begun.
func tell(row *telemetry.SnapshotRequestTable, work []cdc.SnapshotTableWork, name cdc.TableName) {
	for _, w := range work {
		if w.DB != name.DB || w.Table != name.Table || !w.Begun {
			continue
		}
		estimated := row.RowsEstimated
		if row.SnapshotTable, row.State = snapshotTable(w.SnapshotTable), "copying"; w.Done {
			row.State = "copied"
		} else if row.RowsEstimated == 0 {
			row.RowsEstimated = max(row.Rows, estimated)
		}
	}
}
