package testserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const natsModule = "github.com/nats-io/nats-server/v2"

// NATSServer is a private nats-server with JetStream on files.
type NATSServer struct {
	*Process
	name    string
	port    int
	monitor int
	dir     string
	store   string
	health  string // query of the health check that counts as started
}

// NATSOption changes how a NATS server is started.
type NATSOption func(*natsOptions)

type natsOptions struct {
	config    []string
	jetstream []string
	store     string
	plain     bool
}

// NATSConfig adds lines to the top level of the server's configuration file.
func NATSConfig(lines ...string) NATSOption {
	return func(o *natsOptions) { o.config = append(o.config, lines...) }
}

// JetStreamConfig adds lines to the jetstream block, such as "sync_interval: always".
func JetStreamConfig(lines ...string) NATSOption {
	return func(o *natsOptions) { o.jetstream = append(o.jetstream, lines...) }
}

// NATSStore puts JetStream's files elsewhere than in the test's own directory.
func NATSStore(dir string) NATSOption {
	return func(o *natsOptions) { o.store = dir }
}

// NATSPlain leaves JetStream away, for a test that answers in its place.
func NATSPlain() NATSOption {
	return func(o *natsOptions) { o.plain = true }
}

// NATS starts a NATS server that ends with the test.
func NATS(t testing.TB, opts ...NATSOption) *NATSServer {
	t.Helper()
	s := newNATS(t, "solo", opts)
	if err := s.Start(); err != nil {
		t.Fatalf("start NATS: %v", err)
	}
	return s
}

// NATSCluster starts n NATS servers as one JetStream cluster, and waits until
// it has a leader.
func NATSCluster(t testing.TB, n int, opts ...NATSOption) []*NATSServer {
	t.Helper()
	ports, routes := make([]int, n), make([]string, n)
	for i := range n {
		ports[i] = reservePort(t)
		routes[i] = "nats://" + localAddr(ports[i])
	}
	servers := make([]*NATSServer, n)
	for i := range n {
		cluster := NATSConfig(fmt.Sprintf("cluster { name: test, listen: %q, routes: [%s] }",
			localAddr(ports[i]), strings.Join(routes, ", ")))
		servers[i] = newNATS(t, fmt.Sprintf("n%d", i+1), append(opts, cluster))
		// One of three is never healthy alone, so a member has started when
		// its JetStream is on; the cluster is waited for below.
		servers[i].health = "?js-enabled-only=true"
		if err := servers[i].Start(); err != nil {
			t.Fatalf("start NATS cluster: %v", err)
		}
	}
	for _, s := range servers {
		if err := s.awaitHealthy(startTimeout); err != nil {
			t.Fatalf("start NATS cluster: %v; log of one server:\n%s", err, s.LogTail(40))
		}
	}
	return servers
}

func newNATS(t testing.TB, name string, opts []NATSOption) *NATSServer {
	t.Helper()
	notShort(t)
	var o natsOptions
	for _, opt := range opts {
		opt(&o)
	}
	binary, err := natsBinary()
	if err != nil {
		t.Fatalf("build nats-server: %v", err)
	}
	s := &NATSServer{name: name, port: reservePort(t), monitor: reservePort(t), dir: t.TempDir()}
	s.store = cmp.Or(o.store, filepath.Join(s.dir, "store"))
	path := s.configPath()
	if err := os.WriteFile(path, []byte(s.config(name, o)), 0o644); err != nil {
		t.Fatalf("write NATS configuration: %v", err)
	}
	s.Process = &Process{
		name:    "nats-server " + name,
		argv:    []string{binary, "-c", path},
		logPath: filepath.Join(s.dir, "server.log"),
		ready:   func() error { return s.checkHealth(s.health) },
	}
	t.Cleanup(func() { s.cleanup(t) })
	return s
}

// Reload gives a running server another configuration, made of the options alone,
// and waits until it is in effect.
func (s *NATSServer) Reload(t testing.TB, opts ...NATSOption) {
	t.Helper()
	var o natsOptions
	for _, opt := range opts {
		opt(&o)
	}
	loaded := func() string {
		t.Helper()
		var varz struct {
			Loaded string `json:"config_load_time"`
		}
		http := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := http.Get(s.MonitorURL() + "/varz")
		if err != nil {
			t.Fatalf("ask NATS for its configuration: %v", err)
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(&varz); err != nil {
			t.Fatalf("ask NATS for its configuration: %v", err)
		}
		return varz.Loaded
	}
	before := loaded()
	if err := os.WriteFile(s.configPath(), []byte(s.config(s.name, o)), 0o644); err != nil {
		t.Fatalf("write NATS configuration: %v", err)
	}
	if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
		t.Fatalf("reload NATS: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); loaded() == before; time.Sleep(readyPoll) {
		if time.Now().After(deadline) {
			t.Fatalf("NATS does not take the configuration:\n%s", s.LogTail(20))
		}
	}
}

func (s *NATSServer) configPath() string { return filepath.Join(s.dir, "nats.conf") }

func (s *NATSServer) config(name string, o natsOptions) string {
	lines := []string{
		"server_name: " + name,
		fmt.Sprintf("listen: %q", localAddr(s.port)),
		fmt.Sprintf("http: %q", localAddr(s.monitor)),
	}
	if !o.plain {
		lines = append(lines, fmt.Sprintf("jetstream {\n  store_dir: %q", s.StoreDir()))
		lines = append(append(lines, o.jetstream...), "}")
	}
	return strings.Join(append(lines, o.config...), "\n") + "\n"
}

// Name is the server's name: "solo", and in a cluster "n1", "n2" and so on.
func (s *NATSServer) Name() string { return s.name }

// URL is the server's client address.
func (s *NATSServer) URL() string { return "nats://" + localAddr(s.port) }

// Addr is the client address as host:port.
func (s *NATSServer) Addr() string { return localAddr(s.port) }

// MonitorURL is the base of the server's HTTP monitoring.
func (s *NATSServer) MonitorURL() string { return "http://" + localAddr(s.monitor) }

// StoreDir is where JetStream keeps its files.
func (s *NATSServer) StoreDir() string { return s.store }

// Conn opens a connection that is closed with the test.
func (s *NATSServer) Conn(t testing.TB, opts ...nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(s.URL(), append([]nats.Option{nats.Timeout(connectTimeout)}, opts...)...)
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func (s *NATSServer) awaitHealthy(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := s.checkHealth("")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(readyPoll)
	}
}

func (s *NATSServer) checkHealth(query string) error {
	// Connections are not kept: they would be goroutines left after the test.
	http := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := http.Get(s.MonitorURL() + "/healthz" + query)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != 200 {
		return fmt.Errorf("health check: %s", answer.Status)
	}
	return nil
}

// natsBinary builds the pinned version of nats-server, once, out of the module
// cache.
func natsBinary() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("find version: %w", err)
	}
	version := regexp.MustCompile(regexp.QuoteMeta(natsModule) + ` (v\S+)`).FindSubmatch(mod)
	if version == nil {
		return "", fmt.Errorf("find version: %s is not in go.mod", natsModule)
	}
	return cached("nats-server-"+string(version[1]), func(partial string) error {
		build := exec.Command("go", "build", "-o", partial, natsModule)
		build.Dir = root
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=", "GOARCH=", "GOFLAGS=-mod=readonly -trimpath")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w: %s", err, out)
		}
		return nil
	})
}
