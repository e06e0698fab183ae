package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// asked notes what a pipeline's dead letters were asked for.
type asked struct{ did []string }

func (a *asked) note(format string, args ...any) { a.did = append(a.did, fmt.Sprintf(format, args...)) }

func (a *asked) List(f telemetry.DeadLetterFilter, after string, limit int) (telemetry.DeadLetterPage, error) {
	a.note("list %+v %q %d", f, after, limit)
	return telemetry.DeadLetterPage{DeadLetters: []telemetry.DeadLetter{{ID: "s/t#1"}}, Next: "s/t#1", Kept: 7}, nil
}

func (a *asked) Show(id string) (telemetry.DeadLetter, error) {
	if id != "s/f/x:4#1" {
		return telemetry.DeadLetter{}, fault.New(fault.Config, "no_such_dead_letter", id, "list", "none")
	}
	return telemetry.DeadLetter{ID: id, Content: json.RawMessage(`{"after":{}}`)}, nil
}

func (a *asked) Remove(ids []string) (int, error) {
	a.note("remove %q", ids)
	return strings.Count(ids[0], "there"), nil
}

func (a *asked) Replay(_ context.Context, o telemetry.ReplayOrder) (telemetry.ReplayReport, error) {
	a.note("replay %+v", o)
	if o.Filter.Step == "paused" {
		return telemetry.ReplayReport{}, fault.New(fault.Environment, "replay_not_running", "shop", "resume it", "paused")
	}
	return telemetry.ReplayReport{Replayed: 2, Stale: 1}, nil
}

func (a *asked) Purge(f telemetry.DeadLetterFilter) (int, error) {
	a.note("purge %+v", f)
	if f.Step == "broken" {
		return 0, fault.New(fault.Environment, "state_write_failed", "", "free space", "full")
	}
	return 3, nil
}

func TestDeadLetterRoutes(t *testing.T) {
	const base = "/v1/pipelines/shop/dead-letters"
	for _, c := range []struct {
		name, method, path string
		code               int
		body, did          string
	}{
		{"list", "GET", base, 200, `"next": "s/t#1"`, `list {Step: Table: Reason: Since:0001-01-01 00:00:00 +0000 UTC Before:0001-01-01 00:00:00 +0000 UTC} "" 100`},
		{"filters", "GET", base + "?step=s&table=a.*&reason=r&since=2026-01-02T00:00:00Z&before=2026-01-03T00:00:00.5Z&after=x%231&limit=1000", 200, `"kept": 7`,
			`list {Step:s Table:a.* Reason:r Since:2026-01-02 00:00:00 +0000 UTC Before:2026-01-03 00:00:00.5 +0000 UTC} "x#1" 1000`},
		{"too many", "GET", base + "?limit=1001", 400, `"code": "bad_request"`, ""},
		{"none", "GET", base + "?limit=0", 400, `"code": "bad_request"`, ""},
		{"no time", "GET", base + "?since=yesterday", 400, `2006-01-02T15:04:05Z`, ""},
		{"a typo", "GET", base + "?stpe=s", 400, `stpe`, ""},
		{"no pipeline", "GET", "/v1/pipelines/x/dead-letters", 404, `"code": "no_such_pipeline"`, ""},
		{"show", "GET", base + "/s%2Ff%2Fx:4%231", 200, `"id": "s/f/x:4#1"`, ""},
		{"show none", "GET", base + "/x", 404, `"code": "no_such_dead_letter"`, ""},
		{"remove", "DELETE", base + "/there%2F1", 200, `"purged": 1`, `remove ["there/1"]`},
		{"remove none", "DELETE", base + "/x", 404, `"code": "no_such_dead_letter"`, `remove ["x"]`},
		{"purge some", "DELETE", base + "?step=s", 200, `"purged": 3`, "purge {Step:s Table"},
		{"purge all", "DELETE", base + "?all=true", 200, `"purged": 3`, "purge {Step: Table"},
		{"purge unsaid", "DELETE", base, 400, `"code": "bad_request"`, ""},
		{"purge both", "DELETE", base + "?all=true&step=s", 400, `"code": "bad_request"`, ""},
		{"purge by an empty filter", "DELETE", base + "?all=true&step=", 400, `"code": "bad_request"`, ""},
		{"purge by a typo", "DELETE", base + "?all=true&tabel=x", 400, `"code": "bad_request"`, ""},
		{"purge on a full disk", "DELETE", base + "?step=broken", 503, `"hint": "free space"`, "purge {Step:broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &asked{}
			o := options()
			o.DeadLetters = func(pipeline string) (admin.DeadLetters, error) {
				if pipeline != "shop" {
					return nil, fault.New(fault.Config, "no_such_pipeline", pipeline, "list", "none")
				}
				return a, nil
			}
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Host = "127.0.0.1:7070"
			w := httptest.NewRecorder()
			admin.Handler(o, "").ServeHTTP(w, r)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%d %s; want %d with %s", w.Code, w.Body, c.code, c.body)
			}
			if did := strings.Join(a.did, "; "); c.did == "" && did != "" || !strings.HasPrefix(did, c.did) {
				t.Errorf("did %s, want %s", did, c.did)
			}
		})
	}
}

// A page of the web whose name leads to this machine can't purge anything.
func TestForeignHostsChangeNothing(t *testing.T) {
	for host, code := range map[string]int{"evil.example": 403, "evil.example:7070": 403, "10.0.0.7:7070": 403,
		"127.0.0.1:7070": 200, "localhost:7070": 200, "[::1]:7070": 200, "localhost": 200} {
		a := &asked{}
		o := options()
		o.DeadLetters = func(string) (admin.DeadLetters, error) { return a, nil }
		r := httptest.NewRequest("GET", "/v1/pipelines/shop/dead-letters/s%2Ff%2Fx:4%231", nil)
		r.Host = host
		w := httptest.NewRecorder()
		admin.Handler(o, "").ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("a row for %s: %d", host, w.Code)
		}
		r = httptest.NewRequest("DELETE", "/v1/pipelines/shop/dead-letters?all=true", nil)
		r.Host = host
		w = httptest.NewRecorder()
		admin.Handler(o, "").ServeHTTP(w, r)
		if w.Code != code || len(a.did) > 0 != (code == 200) {
			t.Errorf("%s: %d, did %v", host, w.Code, a.did)
		}
		w = httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer s")
		admin.Handler(o, "s").ServeHTTP(w, r) // a token proves who asks
		if w.Code != 200 {
			t.Errorf("%s with a token: %d", host, w.Code)
		}
	}
}

// The document has the routes that are served, and no others.
func TestOpenAPI(t *testing.T) {
	o := options()
	o.DeadLetters = func(string) (admin.DeadLetters, error) { return &asked{}, nil }
	o.Snapshots = (&wanted{}).of
	o.Checkpoints = func() ([]telemetry.Checkpoint, error) { return nil, nil }
	o.Replica = func() *telemetry.Replica { return nil }
	o.ExportState = func(io.Writer) error { return nil }
	w := httptest.NewRecorder()
	admin.Handler(o, "").ServeHTTP(w, httptest.NewRequest("GET", "/v1/openapi.json", nil))
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI == "" {
		t.Fatal(err, w.Body)
	}
	served := map[string]bool{}
	files, _ := filepath.Glob("*.go")
	form := regexp.MustCompile(`(?:HandleFunc|Handle|handle)\("(GET|DELETE|POST|PUT) (/[^"]*)"`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range form.FindAllStringSubmatch(string(text), -1) {
			served[m[1]+" "+m[2]] = true
			if doc.Paths[m[2]][strings.ToLower(m[1])] == nil {
				t.Errorf("openapi.json lacks %s %s", m[1], m[2])
			}
		}
	}
	for path, methods := range doc.Paths {
		for method := range methods {
			if !served[strings.ToUpper(method)+" "+path] {
				t.Errorf("openapi.json has %s %s, which is not served", method, path)
			}
		}
	}
	if len(served) < 9 {
		t.Errorf("found only %v: the search is broken", served)
	}
	if http.StatusOK != w.Code {
		t.Error(w.Code)
	}
}
