package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// CodeCrossOrigin is the code of an answer to a page of another site.
const CodeCrossOrigin = "cross_origin"

const (
	askBytesMax = 64 << 10 // of a request's body
	// startTimeout bounds the looking at tables, which may be many.
	startTimeout = time.Minute
)

// Snapshots are the copies of tables that people ask one pipeline for. Its errors
// join faults; those of class Config say that what was asked for can't be.
type Snapshots interface {
	// Start checks what is asked for, and makes it durable before it returns.
	Start(ctx context.Context, ask telemetry.SnapshotAsk) (telemetry.SnapshotRequest, error)
	// List returns those that are not over and the last ones that are, in the order in
	// which they were asked for.
	List() (telemetry.SnapshotList, error)
	// Show returns one of them.
	Show(id string) (telemetry.SnapshotRequest, error)
	// Pause, Resume and Cancel make durable what is wanted, and return how the copy
	// stands; it follows a moment later.
	Pause(id string) (telemetry.SnapshotRequest, error)
	Resume(id string) (telemetry.SnapshotRequest, error)
	Cancel(id string) (telemetry.SnapshotRequest, error)
}

// snapshotRoutes serves the copies of tables that people ask for.
func snapshotRoutes(mux *http.ServeMux, of func(pipeline string) (Snapshots, error)) {
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request, s Snapshots) (any, error)) {
		mux.Handle(pattern, sameOrigin(func(w http.ResponseWriter, r *http.Request) {
			s, err := of(r.PathValue("name"))
			var v any
			if err == nil {
				v, err = f(w, r, s)
			}
			if err != nil {
				snapshotProblem(w, err)
				return
			}
			reply(w, http.StatusOK, v)
		}))
	}
	change := func(f func(Snapshots, string) (telemetry.SnapshotRequest, error)) func(http.ResponseWriter, *http.Request, Snapshots) (any, error) {
		return func(_ http.ResponseWriter, r *http.Request, s Snapshots) (any, error) { return f(s, r.PathValue("id")) }
	}
	handle("POST /v1/pipelines/{name}/snapshots", func(w http.ResponseWriter, r *http.Request, s Snapshots) (any, error) {
		ask, err := readAsk(w, r)
		if err != nil {
			return nil, err
		}
		// A connection that has no deadlines is no reason to refuse.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(startTimeout + requestTimeout))
		ctx, cancel := context.WithTimeout(r.Context(), startTimeout)
		defer cancel()
		return s.Start(ctx, ask)
	})
	handle("GET /v1/pipelines/{name}/snapshots", func(_ http.ResponseWriter, _ *http.Request, s Snapshots) (any, error) { return s.List() })
	handle("GET /v1/pipelines/{name}/snapshots/{id}", change(Snapshots.Show))
	handle("POST /v1/pipelines/{name}/snapshots/{id}/pause", change(Snapshots.Pause))
	handle("POST /v1/pipelines/{name}/snapshots/{id}/resume", change(Snapshots.Resume))
	handle("POST /v1/pipelines/{name}/snapshots/{id}/cancel", change(Snapshots.Cancel))
}

// readAsk reads the body of a request for a snapshot. A key that is not known is
// a mistake that must not widen what is copied.
func readAsk(w http.ResponseWriter, r *http.Request) (ask telemetry.SnapshotAsk, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return ask, badRequest("Content-Type", "send the request as application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, askBytesMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&ask); err != nil {
		return ask, badRequest("body", `write {"tables": ["db.table"], "where": "...", "columns": [...]}: %w`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ask, badRequest("body", "there is more behind the request")
	}
	if len(ask.Tables) == 0 {
		return ask, badRequest("tables", "name a table: db.table")
	}
	return ask, nil
}

// sameOrigin refuses what a page of another site has a browser send here: unlike a
// DELETE, a browser sends a POST without asking first.
func sameOrigin(f http.HandlerFunc) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, CodeCrossOrigin, "the request comes from a page of another site", "use cdcd snapshot, or a client that is no browser")
	}))
	return p.Handler(f)
}

// snapshotProblem answers with a fault. What is wrong with what was asked for is
// all told, each with its place and its way out.
func snapshotProblem(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	status := 0
	switch f.Code {
	case CodeBadRequest, "no_such_pipeline", "no_such_snapshot":
	case "snapshot_running", "snapshot_over", "snapshot_requests_full":
		status = http.StatusConflict
	default:
		if f.Class == fault.Config || f.Class == fault.Fatal && errors.As(err, new(*fault.Fault)) {
			status = http.StatusUnprocessableEntity
		}
	}
	if status == 0 {
		problemOf(w, err)
		return
	}
	problem(w, status, f.Code, err.Error(), f.Hint)
}
