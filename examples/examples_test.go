package examples

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// build builds cdcd with the shipped connectors in it.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "cdcd")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/cdcd").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	list, err := exec.Command(bin, "connector", "list", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(list, []byte(`"mask"`)) && bytes.Contains(list, []byte(`"filter"`)) {
		return bin
	}
	skip.For(t, "the shipped connectors: make connectors")
	return ""
}

// run runs cdcd in an example's folder and returns its standard output.
func run(t *testing.T, bin, dir string, env []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), env...), "CDCD_STATE="+t.TempDir(), "XDG_CACHE_HOME="+filepath.Join(os.TempDir(), "cdcd-test-cache"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cdcd %s: %v\n%s\n%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

type message struct {
	Op    string
	After struct{ Email, Status string }
}

func TestDatabases(t *testing.T) {
	bin := build(t)
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		dir := db.Flavor + "-to-nats"
		ns := testserver.NATS(t)
		db.Exec(t, statements(t, dir)...)
		db.Exec(t, "INSERT INTO shop.customers (email, name) VALUES ('ada@example.com', 'Ada'), ('grace@example.com', 'Grace')",
			"INSERT INTO shop.orders (email, status, total) VALUES ('ada@example.com', 'placed', 12.50)",
			"UPDATE shop.orders SET status = 'paid'")
		env := []string{"SHOP_DSN=" + db.UserDSN("cdcd", "choose-a-password"), "NATS_URL=" + ns.URL()}
		run(t, bin, dir, env, "validate", "cdcd.yaml")
		run(t, bin, dir, env, "run", "cdcd.yaml", "--until", "caught-up")
		var emails []string
		ops := ""
		for _, m := range read(t, ns.Conn(t), "SHOP", "cdc.shop.shop.*") {
			emails = append(emails, m.After.Email)
			ops += m.Op
		}
		if ops != "cccu" {
			t.Errorf("operations %q, want three inserts and an update", ops)
		}
		for _, email := range emails {
			if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(email) {
				t.Errorf("the email %q is not masked", email)
			}
		}
	})
}

// The containers have a NATS server that is new enough.
func TestComposeFiles(t *testing.T) {
	files, err := filepath.Glob("*/compose.yaml")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`image: nats:(\d+)\.(\d+)`).FindSubmatch(text)
		if m == nil {
			t.Errorf("%s: no image of NATS with its version", file)
			continue
		}
		major, _ := strconv.Atoi(string(m[1]))
		minor, _ := strconv.Atoi(string(m[2]))
		if major < 2 || major == 2 && minor < 14 {
			t.Errorf("%s: nats:%d.%d, and cdcd needs 2.14", file, major, minor)
		}
	}
}

// statements returns shop.sql, after checking that the grants in the README
// are the same.
func statements(t *testing.T, dir string) []string {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join(dir, "shop.sql"))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```sql\n")
	block, _, _ = strings.Cut(block, "```")
	if block == "" || !strings.HasSuffix(string(sql), block) {
		t.Errorf("%s: README.md grants something else than shop.sql", dir)
	}
	var list []string
	for s := range strings.SplitSeq(string(sql), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// read returns the messages of rows that are in a stream.
func read(t *testing.T, nc *nats.Conn, stream, subjects string) (all []message) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subjects}})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.Fetch(4, jetstream.FetchMaxWait(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		var v message
		if err := json.Unmarshal(m.Data(), &v); err != nil {
			t.Fatalf("%v: %s", err, m.Data())
		}
		all = append(all, v)
	}
	if err := batch.Error(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFilesToStdout(t *testing.T) {
	out := run(t, build(t), "files-to-stdout", nil, "run", "cdcd.yaml", "--until", "eof")
	rows := 0
	for line := range bytes.Lines(out) {
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if m.Op == "m" {
			continue
		}
		rows++
		if m.Op != "d" && m.After.Status != "paid" {
			t.Fatalf("a row that the filter should have dropped: %s", line)
		}
	}
	if rows < 100 {
		t.Errorf("%d rows, want the paid orders of the recordings", rows)
	}
}

// The demo keeps what it is asked to keep, and that runs by itself.
func TestDemoKeep(t *testing.T) {
	bin, dir := build(t), filepath.Join(t.TempDir(), "shop")
	run(t, bin, ".", nil, "demo", "--for", "0s", "--keep", dir, "--json")
	run(t, bin, dir, nil, "validate", "cdcd.yaml")
	run(t, bin, dir, nil, "run", "cdcd.yaml", "--until", "eof")
}
