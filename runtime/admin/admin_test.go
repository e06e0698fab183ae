package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(status ...telemetry.Status) admin.Options {
	f := func() []telemetry.Status { return status }
	return admin.Options{
		Status: f, Log: slog.New(slog.DiscardHandler),
		Guests:   func() telemetry.Guests { return telemetry.Guests{Modules: 3} },
		Registry: telemetry.Registry("v1", telemetry.States{"streaming"}, f, time.Now),
	}
}

func TestRoutes(t *testing.T) {
	good := telemetry.Status{Pipeline: "shop", State: "streaming", Ready: true}
	bad := telemetry.Status{Pipeline: "old", State: "halted", Reason: "the binlog was purged", Code: "binlog_purged"}
	for _, c := range []struct {
		name, method, path, token, header string
		status                            []telemetry.Status
		code                              int
		body                              string
	}{
		{"health", "GET", "/healthz", "", "", []telemetry.Status{bad}, 200, `"ok"`},
		{"health needs no token", "GET", "/healthz", "s", "", nil, 200, `"ok"`},
		{"ready", "GET", "/readyz", "", "", []telemetry.Status{good}, 200, `"ready": true`},
		{"not ready", "GET", "/readyz", "", "", []telemetry.Status{good, bad}, 503, `"code": "binlog_purged"`},
		{"metrics", "GET", "/metrics", "", "", []telemetry.Status{good}, 200, `cdcd_pipeline_state{pipeline="shop",state="streaming"} 1`},
		{"pipelines", "GET", "/v1/pipelines", "", "", []telemetry.Status{good}, 200, `"pipeline": "shop"`},
		{"pipeline", "GET", "/v1/pipelines/old", "", "", []telemetry.Status{good, bad}, 200, `"state": "halted"`},
		{"guests", "GET", "/v1/guests", "", "", nil, 200, `"modules": 3`},
		{"no pipeline", "GET", "/v1/pipelines/x", "", "", nil, 404, `"code": "no_such_pipeline"`},
		{"no route", "GET", "/v2", "", "", nil, 404, `"hint": `},
		{"no token", "GET", "/v1/pipelines", "s", "", nil, 401, `"code": "unauthorized"`},
		{"wrong token", "GET", "/metrics", "s", "Bearer t", nil, 401, `"code": "unauthorized"`},
		{"token", "GET", "/v1/pipelines", "s", "Bearer s", nil, 200, `"pipelines": null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Authorization", c.header)
			w := httptest.NewRecorder()
			admin.Handler(options(c.status...), c.token).ServeHTTP(w, r)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("%s %s = %d %s; want %d with %s", c.method, c.path, w.Code, w.Body, c.code, c.body)
			}
			if strings.HasPrefix(w.Header().Get("Content-Type"), "application/") && !json.Valid(w.Body.Bytes()) {
				t.Errorf("not JSON: %s", w.Body)
			}
		})
	}
}

func TestRun(t *testing.T) {
	s, err := admin.New(config.Server{Listen: "127.0.0.1:0", Token: unit.NewSecret("")}, options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := client.Get("http://" + s.Addr() + "/healthz"); err == nil {
		t.Error("the server still answers after Run")
	}
}

func TestAddressInUse(t *testing.T) {
	first, err := admin.New(config.Server{Listen: "127.0.0.1:0"}, options())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer func() { _ = first.Run(ctx) }()
	_, err = admin.New(config.Server{Listen: first.Addr()}, options())
	if !fault.HasCode(err, admin.CodeListen) || fault.ExitCode(err) != 3 {
		t.Errorf("New on a used address = %v", err)
	}
}
