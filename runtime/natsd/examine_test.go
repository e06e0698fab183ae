package natsd

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
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
	s.Stop()
	results = Examine(t.Context(), Config{URL: s.URL()})
	if len(results) != 1 || results[0].Level != checkup.Failed || len(results[0].Fix) == 0 {
		t.Errorf("nobody there: %+v", results)
	}
}
