package admin

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// Codes of answers to requests that can't be understood or are not allowed.
const (
	CodeBadRequest  = "bad_request"
	CodeForeignHost = "foreign_host"
)

const (
	deadLettersDefault = 100 // of one page
	deadLettersMax     = 1000
	// purgeTimeout bounds a purge, which may have to look at all of them.
	purgeTimeout = 2 * time.Minute
	// replayTimeout bounds a replay: what is left then is left for the next.
	replayTimeout  = 10 * time.Minute
	replayBytesMax = 16 << 20 // of an order
)

// DeadLetters are the dead letters of one pipeline. Its errors are faults;
// those of class Config say that what was asked for is not there.
type DeadLetters interface {
	// List returns at most limit dead letters behind the one named by after.
	List(f telemetry.DeadLetterFilter, after string, limit int) (telemetry.DeadLetterPage, error)
	// Show returns one with its row.
	Show(id string) (telemetry.DeadLetter, error)
	// Remove removes those with the ids and returns how many were there.
	Remove(ids []string) (int, error)
	// Replay lets those come by again that the order names.
	Replay(ctx context.Context, o telemetry.ReplayOrder) (telemetry.ReplayReport, error)
	// Purge removes those that the filter chooses and returns how many they were.
	Purge(f telemetry.DeadLetterFilter) (int, error)
}

// purged is the answer to a request that removes dead letters.
type purged struct {
	Purged int `json:"purged"`
}

// deadLetterRoutes serves what a pipeline keeps of refused rows.
func deadLetterRoutes(mux *http.ServeMux, of func(pipeline string) (DeadLetters, error)) {
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request, l DeadLetters) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			l, err := of(r.PathValue("name"))
			if err == nil {
				err = f(w, r, l)
			}
			if err != nil {
				problemOf(w, err)
			}
		})
	}
	handle("GET /v1/pipelines/{name}/dead-letters", func(w http.ResponseWriter, r *http.Request, l DeadLetters) error {
		q := r.URL.Query()
		f, err := filter(q, "after", "limit")
		if err != nil {
			return err
		}
		limit := deadLettersDefault
		if text := q.Get("limit"); text != "" {
			if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > deadLettersMax {
				return badRequest("limit", "write a number from 1 to %d", deadLettersMax)
			}
		}
		page, err := l.List(f, q.Get("after"), limit)
		if err == nil {
			reply(w, http.StatusOK, page)
		}
		return err
	})
	handle("GET /v1/pipelines/{name}/dead-letters/{id}", func(w http.ResponseWriter, r *http.Request, l DeadLetters) error {
		d, err := l.Show(r.PathValue("id"))
		if err == nil {
			reply(w, http.StatusOK, d)
		}
		return err
	})
	handle("DELETE /v1/pipelines/{name}/dead-letters/{id}", func(w http.ResponseWriter, r *http.Request, l DeadLetters) error {
		n, err := l.Remove([]string{r.PathValue("id")})
		if err == nil && n == 0 {
			err = fault.New(fault.Config, "no_such_dead_letter", r.PathValue("id"), "list them: it may be purged already", "there is no such dead letter")
		}
		if err == nil {
			reply(w, http.StatusOK, purged{n})
		}
		return err
	})
	handle("POST /v1/pipelines/{name}/dead-letters/replay", replay)
	handle("DELETE /v1/pipelines/{name}/dead-letters", func(w http.ResponseWriter, r *http.Request, l DeadLetters) error {
		f, err := filter(r.URL.Query(), "all")
		if err != nil {
			return err
		}
		if all := r.URL.Query().Get("all") == "true"; all != f.All() {
			return badRequest("all", "say what to purge: step, table, reason, since or before; or all=true, alone")
		}
		// A connection that has no deadlines is no reason to refuse.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(purgeTimeout))
		n, err := l.Purge(f)
		if err == nil {
			reply(w, http.StatusOK, purged{n})
		}
		return err
	})
}

// replay lets dead letters come by again.
func replay(w http.ResponseWriter, r *http.Request, l DeadLetters) error {
	o, err := replayOrder(w, r)
	if err != nil {
		return err
	}
	// A connection that has no deadlines is no reason to refuse.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replayTimeout + time.Minute))
	ctx, cancel := context.WithTimeout(r.Context(), replayTimeout)
	defer cancel()
	report, err := l.Replay(ctx, o)
	if err == nil {
		reply(w, http.StatusOK, report)
	}
	return err
}

// replayOrder reads the body of a request to replay: what is to be replayed must be
// said in one way. The type is asked for so that no page of another site can send it.
func replayOrder(w http.ResponseWriter, r *http.Request) (o telemetry.ReplayOrder, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return o, badRequest("Content-Type", "send application/json")
	}
	var body struct {
		IDs                           []string
		From, To, Step, Table, Reason string
		Since, Before                 time.Time
		All, Force                    bool
		DryRun                        bool `json:"dry_run"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, replayBytesMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return o, badRequest("body", "%v", err)
	}
	f := telemetry.DeadLetterFilter{Step: body.Step, Table: body.Table, Reason: body.Reason, Since: body.Since, Before: body.Before}
	ways := 0
	for _, used := range []bool{len(body.IDs) > 0, body.From != "" || body.To != "" || !f.All(), body.All} {
		if used {
			ways++
		}
	}
	if ways != 1 {
		return o, badRequest("body", "say in one way what to replay: ids; or from, to, step, table, reason, since, before; or all")
	}
	return telemetry.ReplayOrder{IDs: body.IDs, From: body.From, To: body.To, Filter: f, Force: body.Force, DryRun: body.DryRun}, nil
}

// filter reads a filter's parameters; others than these and the extra ones are
// mistakes that must not widen what is purged.
func filter(q url.Values, extra ...string) (f telemetry.DeadLetterFilter, err error) {
	known := map[string]bool{"step": true, "table": true, "reason": true, "since": true, "before": true}
	for _, name := range extra {
		known[name] = true
	}
	for name, values := range q {
		if !known[name] || len(values) != 1 || values[0] == "" {
			return f, badRequest(name, "the parameters are step, table, reason, since, before %v, each once and not empty", extra)
		}
	}
	f.Step, f.Table, f.Reason = q.Get("step"), q.Get("table"), q.Get("reason")
	for name, at := range map[string]*time.Time{"since": &f.Since, "before": &f.Before} {
		if text := q.Get(name); text != "" {
			if *at, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return f, badRequest(name, "write a time as 2006-01-02T15:04:05Z")
			}
		}
	}
	return f, nil
}

func badRequest(parameter, hint string, args ...any) error {
	return fault.New(fault.Config, CodeBadRequest, parameter, "see /v1/openapi.json", hint, args...)
}

// problemOf answers with a fault.
func problemOf(w http.ResponseWriter, err error) {
	f := fault.Of(err)
	status := http.StatusInternalServerError
	switch {
	case f.Code == CodeBadRequest:
		status = http.StatusBadRequest
	case f.Class == fault.Config:
		status = http.StatusNotFound
	case f.Class == fault.Environment || f.Class == fault.Retryable:
		status = http.StatusServiceUnavailable
	}
	problem(w, status, f.Code, f.Error(), f.Hint)
}
