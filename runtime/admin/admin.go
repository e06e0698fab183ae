package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// CodeListen is the code of a fault: the address can't be listened on.
const CodeListen = "admin_listen"

// Bounds of the server.
const (
	headerBytesMax  = 16 << 10
	requestTimeout  = 10 * time.Second
	idleTimeout     = time.Minute
	shutdownTimeout = 5 * time.Second
)

// Options say what is served.
type Options struct {
	Status   func() []telemetry.Status
	Guests   func() telemetry.Guests   // what connectors hold; nil for not served
	Replica  func() *telemetry.Replica // how the copies of the state stand; nil for not served
	Registry *prometheus.Registry
	Log      *slog.Logger
	// DeadLetters returns those of a pipeline; nil for not served. An error of
	// class Config says that there is no such pipeline.
	DeadLetters func(pipeline string) (DeadLetters, error)
	// Snapshots returns the copies of tables that were asked for of a pipeline; nil
	// for not served.
	Snapshots func(pipeline string) (Snapshots, error)
	// Checkpoints returns what the state knows of each pipeline, and ExportState
	// writes a copy of it; nil for not served.
	Checkpoints func() ([]telemetry.Checkpoint, error)
	ExportState func(w io.Writer) error
}

// Server is the admin server. It listens from New on and serves in Run.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// New listens on the configured address. The error is a fault of class
// Environment.
func New(c config.Server, o Options) (*Server, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fault.New(fault.Environment, CodeListen, "server.listen",
			"choose a free address, or end the process that has it", "%w", err)
	}
	return &Server{listener: l, log: o.Log, http: &http.Server{
		Handler:           Handler(o, c.Token.Reveal()),
		ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytesMax,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}}, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends, and then at most shutdownTimeout longer.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := s.http.Shutdown(bounded)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-done
	return err
}

// Handler returns the routes. With a token, all but /healthz want it as bearer.
func Handler(o Options, token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, o.Status()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /v1/pipelines", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"pipelines": o.Status()})
	})
	if o.Guests != nil {
		mux.HandleFunc("GET /v1/guests", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, o.Guests()) })
	}
	if o.Replica != nil {
		mux.HandleFunc("GET /v1/state", func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"replica": o.Replica()})
		})
	}
	mux.HandleFunc("GET /v1/pipelines/{name}", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range o.Status() {
			if s.Pipeline == r.PathValue("name") {
				reply(w, http.StatusOK, s)
				return
			}
		}
		problem(w, http.StatusNotFound, "no_such_pipeline", "there is no pipeline "+r.PathValue("name"), "GET /v1/pipelines lists them")
	})
	if o.DeadLetters != nil {
		deadLetterRoutes(mux, o.DeadLetters)
	}
	if o.Snapshots != nil {
		snapshotRoutes(mux, o.Snapshots)
	}
	if o.Checkpoints != nil && o.ExportState != nil {
		stateRoutes(mux, o)
	}
	mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI) // a client that went away is its own affair
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "no_such_route", r.Method+" "+r.URL.Path+" is not known", "see /v1/pipelines, /metrics, /readyz, /healthz")
	})
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	open.Handle("/", guard(mux, token))
	return open
}

func guard(next http.Handler, token string) http.Handler {
	if token == "" {
		return local(next)
	}
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			problem(w, http.StatusUnauthorized, "unauthorized", "the request has no valid token", "send Authorization: Bearer and server.token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// local refuses what changes something, or tells what is in rows, when the request
// names another host than this machine: a page in a browser here, whose name was
// made to lead here.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(host)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		rows := strings.HasPrefix(r.URL.Path, "/v1/state/") || strings.Contains(r.URL.Path, "/dead-letters")
		if (!reads || rows) && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			problem(w, http.StatusForbidden, CodeForeignHost, "the request is for "+r.Host, "use 127.0.0.1 or localhost, or set server.token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ready answers 200 when every pipeline is where data can flow, else 503 with
// the reasons.
func ready(w http.ResponseWriter, all []telemetry.Status) {
	type waiting struct {
		Pipeline string    `json:"pipeline"`
		State    string    `json:"state"`
		Reason   string    `json:"reason,omitempty"`
		Code     string    `json:"code,omitempty"`
		Since    time.Time `json:"since"`
	}
	not := []waiting{}
	for _, s := range all {
		if !s.Ready {
			not = append(not, waiting{s.Pipeline, s.State, s.Reason, s.Code, s.Since})
		}
	}
	code := http.StatusOK
	if len(not) > 0 {
		code = http.StatusServiceUnavailable
	}
	reply(w, code, map[string]any{"ready": len(not) == 0, "waiting": not})
}

// problem answers in the form of RFC 9457, with a fault's code and hint.
func problem(w http.ResponseWriter, status int, code, detail, hint string) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"detail": detail, "code": code, "hint": hint,
	})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, v)
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that went away is its own affair
}
