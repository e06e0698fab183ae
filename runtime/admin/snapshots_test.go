package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// wanted notes what a pipeline's snapshots were asked for.
type wanted struct{ did []string }

func (w *wanted) Start(_ context.Context, ask telemetry.SnapshotAsk) (r telemetry.SnapshotRequest, err error) {
	w.did = append(w.did, fmt.Sprintf("start %+v", ask))
	switch ask.Tables[0] {
	case "shop.gone":
		err = errors.Join(fault.New(fault.Config, "unknown_table", "tables[0]", "correct the name", "no such table"),
			fault.New(fault.Config, "snapshot_where", "shop.b", "correct the predicate", "no column x"))
	case "shop.busy":
		err = fault.New(fault.Config, "snapshot_running", "shop.busy", "wait", "it is copied already")
	case "shop.down":
		err = fault.New(fault.Environment, "server_unreachable", "db:3306", "start it", "no answer")
	case "shop.engine":
		err = fault.New(fault.Fatal, "snapshot_engine", "shop.engine", "ALTER TABLE", "MyISAM")
	}
	return telemetry.SnapshotRequest{ID: "k1", State: telemetry.SnapshotQueued}, err
}

func (w *wanted) List() (telemetry.SnapshotList, error) {
	return telemetry.SnapshotList{Snapshots: []telemetry.SnapshotRequest{{ID: "k1"}}}, nil
}

func (w *wanted) Show(id string) (telemetry.SnapshotRequest, error) { return w.change("show", id) }

func (w *wanted) Pause(id string) (telemetry.SnapshotRequest, error) { return w.change("pause", id) }

func (w *wanted) Resume(id string) (telemetry.SnapshotRequest, error) {
	return w.change("resume", id)
}

func (w *wanted) Cancel(id string) (telemetry.SnapshotRequest, error) {
	return w.change("cancel", id)
}

func (w *wanted) change(what, id string) (r telemetry.SnapshotRequest, err error) {
	w.did = append(w.did, what+" "+id)
	switch id {
	case "none":
		err = fault.New(fault.Config, "no_such_snapshot", id, "list them", "none")
	case "over":
		err = fault.New(fault.Config, "snapshot_over", id, "ask anew", "it is done")
	}
	return telemetry.SnapshotRequest{ID: id}, err
}

func (w *wanted) of(pipeline string) (admin.Snapshots, error) {
	if pipeline != "shop" {
		return nil, fault.New(fault.Config, "no_such_pipeline", pipeline, "list", "none")
	}
	return w, nil
}

func TestSnapshotRoutes(t *testing.T) {
	const base = "/v1/pipelines/shop/snapshots"
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		answer, did              string
	}{
		{"start", "POST", base, `{"tables": ["shop.orders", "shop.b"], "where": "id > 7", "columns": ["v"]}`, 200, `"state": "queued"`, "start {Tables:[shop.orders shop.b] Where:id > 7 Columns:[v]}"},
		{"a table that is not there", "POST", base, `{"tables": ["shop.gone"]}`, 422, `tables[0]`, "start"},
		{"and all else that is wrong", "POST", base, `{"tables": ["shop.gone"]}`, 422, `no column x`, "start"},
		{"twice", "POST", base, `{"tables": ["shop.busy"]}`, 409, `"code": "snapshot_running"`, "start"},
		{"server down", "POST", base, `{"tables": ["shop.down"]}`, 503, `"hint": "start it"`, "start"},
		{"no engine for it", "POST", base, `{"tables": ["shop.engine"]}`, 422, `"code": "snapshot_engine"`, "start"},
		{"a typo", "POST", base, `{"tables": ["shop.orders"], "were": "id > 7"}`, 400, `were`, ""},
		{"no tables", "POST", base, `{"where": "id > 7"}`, 400, `name a table`, ""},
		{"no JSON", "POST", base, `shop.orders`, 400, `"code": "bad_request"`, ""},
		{"more", "POST", base, `{"tables": ["shop.orders"]} {}`, 400, `"code": "bad_request"`, ""},
		{"too much", "POST", base, `{"tables": ["` + strings.Repeat("x", 70<<10) + `"]}`, 400, `too large`, ""},
		{"no pipeline", "POST", "/v1/pipelines/x/snapshots", `{"tables": ["shop.orders"]}`, 404, `"code": "no_such_pipeline"`, ""},
		{"list", "GET", base, "", 200, `"id": "k1"`, ""},
		{"show", "GET", base + "/k1", "", 200, `"id": "k1"`, "show k1"},
		{"show none", "GET", base + "/none", "", 404, `"code": "no_such_snapshot"`, "show none"},
		{"pause", "POST", base + "/k1/pause", "", 200, `"id": "k1"`, "pause k1"},
		{"resume", "POST", base + "/k1/resume", "", 200, `"id": "k1"`, "resume k1"},
		{"cancel", "POST", base + "/k1/cancel", "", 200, `"id": "k1"`, "cancel k1"},
		{"cancel what is over", "POST", base + "/over/cancel", "", 409, `"hint": "ask anew"`, "cancel over"},
		{"looking changes nothing", "GET", base + "/k1/cancel", "", 404, `no_such_route`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &wanted{}
			o := options()
			o.Snapshots = w.of
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			r.Host = "127.0.0.1:7070"
			answer := httptest.NewRecorder()
			admin.Handler(o, "").ServeHTTP(answer, r)
			if answer.Code != c.code || !strings.Contains(answer.Body.String(), c.answer) || !json.Valid(answer.Body.Bytes()) {
				t.Errorf("%d %s; want %d with %s", answer.Code, answer.Body, c.code, c.answer)
			}
			if did := strings.Join(w.did, "; "); c.did == "" && did != "" || !strings.HasPrefix(did, c.did) {
				t.Errorf("did %s, want %s", did, c.did)
			}
		})
	}
}

// A page in a browser can't ask for anything: not under another name, not from
// another site, and not by a form, which sends no JSON.
func TestPagesStartNothing(t *testing.T) {
	for _, c := range []struct {
		name, host string
		header     map[string]string
		path       string
		code       int
	}{
		{"a client", "127.0.0.1:7070", nil, "", 200},
		{"another name", "evil.example", nil, "", 403},
		{"another site", "127.0.0.1:7070", map[string]string{"Sec-Fetch-Site": "cross-site"}, "", 403},
		{"another origin", "127.0.0.1:7070", map[string]string{"Origin": "https://evil.example"}, "", 403},
		{"another origin cancels", "127.0.0.1:7070", map[string]string{"Origin": "https://evil.example"}, "/k1/cancel", 403},
		{"the same origin", "127.0.0.1:7070", map[string]string{"Origin": "http://127.0.0.1:7070"}, "", 200},
		{"a form", "127.0.0.1:7070", map[string]string{"Content-Type": "text/plain"}, "", 400},
	} {
		w := &wanted{}
		o := options()
		o.Snapshots = w.of
		r := httptest.NewRequest("POST", "/v1/pipelines/shop/snapshots"+c.path, strings.NewReader(`{"tables": ["shop.orders"]}`))
		r.Host = c.host
		r.Header.Set("Content-Type", "application/json")
		for k, v := range c.header {
			r.Header.Set(k, v)
		}
		answer := httptest.NewRecorder()
		admin.Handler(o, "").ServeHTTP(answer, r)
		if answer.Code != c.code || len(w.did) > 0 != (c.code == 200) || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%s: %d, did %v: %s", c.name, answer.Code, w.did, answer.Body)
		}
	}
}
