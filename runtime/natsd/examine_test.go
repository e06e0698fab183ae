package natsd

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
)

func level(results []checkup.Result, check string) string {
	for _, r := range results {
		if r.Check == check {
			return r.Level.String()
		}
	}
	return "not looked at"
}

func TestExamineEmbedded(t *testing.T) {
	dir := t.TempDir()
	results := Examine(t.Context(), Config{Dir: filepath.Join(dir, "new")})
	if checkup.Worst(results) > checkup.Warning { // the disk of a small machine may be nearly full
		t.Errorf("%+v", results)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := level(Examine(t.Context(), Config{Dir: filepath.Join(file, "x")}), "state_dir"); got != "failed" {
		t.Errorf("a directory that can't be: %s", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := Config{Dir: dir, Listen: l.Addr().String()}
	if got := level(Examine(t.Context(), taken), "nats_listen"); got != "warning" {
		t.Errorf("an address that is taken: %s", got)
	}
	taken.ListenElse = true
	if got := level(Examine(t.Context(), taken), "nats_listen"); got != "ok" {
		t.Errorf("an address that gives way: %s", got)
	}
}

func TestExamineExternal(t *testing.T) {
	s := testserver.NATS(t)
	results := Examine(t.Context(), Config{URL: s.URL()})
	if level(results, "nats") != "ok" || checkup.Worst(results) > checkup.Warning {
		t.Errorf("%+v", results)
	}
	if got := level(results, "nats_max_payload"); got != "warning" { // a server's default is 1 MiB
		t.Errorf("small messages: %s", got)
	}
	if got := level(results, "nats_login"); got != "warning" {
		t.Errorf("a server that lets everybody in: %s", got)
	}
	if level(results, "nats_cluster") != "ok" || level(results, "nats_tls") != "ok" { // alone, and on this machine
		t.Errorf("%+v", results)
	}
	s.Stop()
	results = Examine(t.Context(), Config{URL: s.URL()})
	if len(results) != 1 || results[0].Level != checkup.Failed || len(results[0].Fix) == 0 {
		t.Errorf("nobody there: %+v", results)
	}
}

// A server that lets in those who don't say who they are is told of, whatever it
// says by the time that one looks.
func TestExamineServerWithAUserForAll(t *testing.T) {
	s := testserver.NATS(t, testserver.NATSConfig("authorization { users: [{user: all, password: p}] }", "no_auth_user: all"))
	nc := s.Conn(t)
	for deadline := time.Now().Add(time.Minute); !nc.AuthRequired(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server sticks to its first words")
		}
	}
	for cfg, want := range map[*Config]string{
		{URL: s.URL()}: "warning",
		{URL: s.URL(), Login: Login{User: "all", Password: unit.NewSecret("p")}}: "ok",
	} {
		if got := login(*cfg, nc).Level.String(); got != want {
			t.Errorf("%+v: %s, want %s", cfg, got, want)
		}
	}
}

func TestExamineCluster(t *testing.T) {
	servers := testserver.NATSCluster(t, 3, testserver.NATSConfig("authorization { user: u, password: p }"))
	cfg := Config{URL: servers[0].URL() + "," + servers[1].URL(), Login: Login{User: "u", Password: unit.NewSecret("p")}}
	results := Examine(t.Context(), cfg)
	if level(results, "nats_login") != "ok" {
		t.Errorf("%+v", results)
	}
	await := func(what, want string) { // the servers tell each other who is there
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); level(results, "nats_cluster") != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, results)
			}
			results = Examine(t.Context(), cfg)
		}
	}
	await("all three", "ok")
	servers[2].Kill()
	await("two of three", "warning")
}

func TestExamineListener(t *testing.T) {
	dir := t.TempDir()
	open := Config{Dir: dir, Listen: "0.0.0.0:0"}
	if got := level(Examine(t.Context(), open), "nats_listen"); got != "failed" {
		t.Errorf("open to all: %s", got)
	}
	open.Access.Token = unit.NewSecret("x")
	if got := level(Examine(t.Context(), open), "nats_tls"); got != "warning" {
		t.Errorf("without TLS: %s", got)
	}
	open.TLS = TLS{Cert: "x", Key: unit.NewSecret("y")}
	if got := level(Examine(t.Context(), open), "nats_tls"); got != "failed" {
		t.Errorf("with a bad certificate: %s", got)
	}
}
