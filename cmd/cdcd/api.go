package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/cdcd-io/cdcd/docs"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

const (
	apiTimeout  = 2 * time.Minute
	apiBytesMax = 256 << 20 // of one answer
	apiTextMax  = 1 << 20   // of a refusal
)

// api asks a running daemon.
type api struct {
	base  string
	token string
}

func newAPI(c config.Server) *api {
	host, port, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return &api{"http://" + net.JoinHostPort(host, port), c.Token.Reveal()}
}

// do sends a request and decodes the answer into v. A refusal is the daemon's
// own fault.
func (a *api) do(ctx context.Context, method, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	var text bytes.Buffer
	if err := a.copy(ctx, method, path, query, &text, apiBytesMax); err != nil {
		return err
	}
	return a.decode(&text, v)
}

// post sends a request with a body and decodes the answer into v.
func (a *api) post(ctx context.Context, path string, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	var answer bytes.Buffer
	if err := a.send(ctx, http.MethodPost, path, bytes.NewReader(text), &answer, apiBytesMax); err != nil {
		return err
	}
	return a.decode(&answer, v)
}

func (a *api) decode(text *bytes.Buffer, v any) error {
	if err := json.NewDecoder(text).Decode(v); err != nil {
		return fault.New(fault.Environment, "daemon_unreachable", a.base, "use the cdcd that the daemon runs", "the answer is not understood: %w", err)
	}
	return nil
}

// copy sends a request and copies the answer, of at most limit bytes, to w.
func (a *api) copy(ctx context.Context, method, path string, query url.Values, w io.Writer, limit int64) error {
	return a.send(ctx, method, path+"?"+query.Encode(), nil, w, limit)
}

// send sends a request, with a body of JSON if there is one, and copies the
// answer to w.
func (a *api) send(ctx context.Context, method, path string, body io.Reader, w io.Writer, limit int64) error {
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fault.New(fault.Environment, "daemon_unreachable", a.base,
			"check that server.listen is what the running daemon has; or stop it and ask again", "a daemon runs, and its admin server does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, apiTextMax))
		return errors.Join(refusal(a.base, resp.Status, text), err)
	}
	if _, err := io.Copy(w, io.LimitReader(resp.Body, limit)); err != nil {
		return fault.New(fault.Environment, "daemon_unreachable", a.base, "ask again", "the answer broke off: %w", err)
	}
	return nil
}

// refusal makes an answer that is none into the fault that the daemon met.
func refusal(base, status string, text []byte) error {
	var p struct{ Code, Detail, Hint string }
	if err := json.Unmarshal(text, &p); err != nil || p.Code == "" {
		return fault.New(fault.Environment, "daemon_unreachable", base, "check that cdcd listens there, not another program", "the answer is %s", status)
	}
	class := fault.Environment
	if p.Code == "unauthorized" || slices.ContainsFunc(docs.Errors(), func(x docs.Explanation) bool { return x.Code == p.Code && x.Class == fault.Config.String() }) {
		class = fault.Config
	}
	return &fault.Fault{Code: p.Code, Class: class, Path: base, Hint: p.Hint, Err: fmt.Errorf("the daemon says: %s", p.Detail)}
}

// apiDeadLetters are the dead letters of a pipeline of a running daemon.
type apiDeadLetters struct {
	ctx  context.Context
	api  *api
	path string
}

func (a *api) deadLetters(ctx context.Context, pipeline string) *apiDeadLetters {
	return &apiDeadLetters{ctx, a, "/v1/pipelines/" + url.PathEscape(pipeline) + "/dead-letters"}
}

func (l *apiDeadLetters) List(f telemetry.DeadLetterFilter, after string, limit int) (page telemetry.DeadLetterPage, err error) {
	q := filterQuery(f)
	if after != "" {
		q.Set("after", after)
	}
	q.Set("limit", strconv.Itoa(limit))
	return page, l.api.do(l.ctx, http.MethodGet, l.path, q, &page)
}

func (l *apiDeadLetters) Show(id string) (d telemetry.DeadLetter, err error) {
	if err := l.api.do(l.ctx, http.MethodGet, l.path+"/"+url.PathEscape(id), nil, &d); err != nil {
		return d, err
	}
	for _, text := range []*json.RawMessage{&d.Key, &d.Content} { // the API's answers are indented
		var b bytes.Buffer
		if err := json.Compact(&b, *text); len(*text) > 0 && err == nil {
			*text = b.Bytes()
		}
	}
	return d, nil
}

func (l *apiDeadLetters) Remove(ids []string) (removed int, err error) {
	for _, id := range ids {
		var answer struct{ Purged int }
		if err := l.api.do(l.ctx, http.MethodDelete, l.path+"/"+url.PathEscape(id), nil, &answer); err != nil && !fault.HasCode(err, "no_such_dead_letter") {
			return removed, err
		}
		removed += answer.Purged
	}
	return removed, nil
}

// Replay may take as long as the daemon lets it.
func (l *apiDeadLetters) Replay(ctx context.Context, o telemetry.ReplayOrder) (report telemetry.ReplayReport, err error) {
	f := o.Filter
	order := map[string]any{"force": o.Force, "dry_run": o.DryRun, "all": len(o.IDs) == 0 && o.From == "" && o.To == "" && f.All()}
	if len(o.IDs) > 0 {
		order["ids"] = o.IDs
	}
	for name, text := range map[string]string{"from": o.From, "to": o.To, "step": f.Step, "table": f.Table, "reason": f.Reason} {
		if text != "" {
			order[name] = text
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "before": f.Before} {
		if !at.IsZero() {
			order[name] = at
		}
	}
	body, err := json.Marshal(order)
	if err != nil {
		return report, err
	}
	var text bytes.Buffer
	if err := l.api.send(ctx, http.MethodPost, l.path+"/replay", bytes.NewReader(body), &text, apiBytesMax); err != nil {
		return report, err
	}
	if err := json.NewDecoder(&text).Decode(&report); err != nil {
		return report, fault.New(fault.Environment, "daemon_unreachable", l.api.base, "use the cdcd that the daemon runs", "the answer is not understood: %w", err)
	}
	return report, nil
}

func (l *apiDeadLetters) Purge(f telemetry.DeadLetterFilter) (int, error) {
	q := filterQuery(f)
	if f.All() {
		q.Set("all", "true")
	}
	var answer struct{ Purged int }
	err := l.api.do(l.ctx, http.MethodDelete, l.path, q, &answer)
	return answer.Purged, err
}

func filterQuery(f telemetry.DeadLetterFilter) url.Values {
	q := url.Values{}
	for name, text := range map[string]string{"step": f.Step, "table": f.Table, "reason": f.Reason} {
		if text != "" {
			q.Set(name, text)
		}
	}
	for name, at := range map[string]time.Time{"since": f.Since, "before": f.Before} {
		if !at.IsZero() {
			q.Set(name, at.Format(time.RFC3339Nano))
		}
	}
	return q
}
