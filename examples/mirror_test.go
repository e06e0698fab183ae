package examples

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The service is killed again and again while it reads; its copy is the table.
func TestMirrorService(t *testing.T) {
	bin := build(t)
	service := filepath.Join(t.TempDir(), "mirror")
	if out, err := exec.Command("go", "build", "-o", service, "./mirror-service").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	db, ns := testserver.MariaDB(t), testserver.NATS(t)
	db.Exec(t, statements(t, "mariadb-to-nats")...)
	for i := range 1500 {
		sql := fmt.Sprintf("INSERT INTO shop.orders (email, status, total) VALUES ('%d@example.com', 'placed', %d.50), ('x', 'placed', 1)", i, i)
		switch i % 5 {
		case 1:
			sql = "UPDATE shop.orders SET status = 'paid' ORDER BY id DESC LIMIT 3"
		case 2:
			sql = "DELETE FROM shop.orders ORDER BY id LIMIT 1"
		case 3:
			sql = "UPDATE shop.orders SET id = id + 100000 WHERE id < 100000 ORDER BY id LIMIT 1"
		}
		db.Exec(t, sql)
	}
	run(t, bin, "mariadb-to-nats", []string{"SHOP_DSN=" + db.UserDSN("cdcd", "choose-a-password"), "NATS_URL=" + ns.URL()}, "run", "cdcd.yaml", "--until", "caught-up")

	file := filepath.Join(t.TempDir(), "mirror.json")
	start := func() *exec.Cmd {
		cmd := exec.Command(service, "-nats", ns.URL(), "-file", file, "-until-caught-up")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kills := 0
	for life := 30 * time.Millisecond; kills < 8; {
		cmd := start()
		time.Sleep(life) // somewhere in the middle of its work
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			kills++
			life += 20 * time.Millisecond
		} else if kills > 0 || life == 0 {
			break // it was done before
		} else { // and was never killed: anew, and sooner
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			life -= 10 * time.Millisecond
		}
	}
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var copied struct {
		Rows map[string]struct{ Status, Total string }
	}
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	got, want := map[string]string{}, map[string]string{}
	for id, row := range copied.Rows {
		got[id] = row.Status + " " + row.Total
	}
	for _, row := range db.Query(t, "SELECT id, status, total FROM shop.orders") {
		want[row[0]] = row[1] + " " + row[2]
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 || kills == 0 {
		t.Errorf("%d rows, %d kills:\n%s", len(want), kills, diff)
	}
}
