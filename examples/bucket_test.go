package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The service answers what the table says, of rows that were there before and of
// rows that changed while it ran.
func TestRowsInABucket(t *testing.T) {
	bin := build(t)
	service := filepath.Join(t.TempDir(), "service")
	if out, err := exec.Command("go", "build", "-o", service, "./rows-in-a-bucket/service").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	db, ns := testserver.MySQL(t), testserver.NATS(t)
	db.Exec(t, statements(t, "mysql-to-nats")...)
	db.Exec(t, "INSERT INTO shop.orders (email, status, total) VALUES ('ada@example.com', 'placed', 12.50), ('grace@example.com', 'draft', 3)")
	env := []string{"SHOP_DSN=" + db.UserDSN("cdcd", "choose-a-password"), "NATS_URL=" + ns.URL(), "CDCD_STATE=" + t.TempDir()}
	run(t, bin, "rows-in-a-bucket", env, "validate", "cdcd.yaml")
	run(t, bin, "rows-in-a-bucket", env, "run", "cdcd.yaml", "--until", "caught-up")

	addr := "127.0.0.1:" + strconv.Itoa(testserver.Port(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := exec.CommandContext(ctx, service, "-nats", ns.URL(), "-listen", addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // killed
	}()
	if got := answer(t, addr, 1, "placed"); got["total"] != "12.50" || got["email"] != "ada@example.com" {
		t.Errorf("order 1: %v", got)
	}
	db.Exec(t, "UPDATE shop.orders SET status = 'paid' WHERE id = 1", "DELETE FROM shop.orders WHERE id = 2",
		"INSERT INTO shop.orders (email, status, total) VALUES ('kay@example.com', 'placed', 1)")
	run(t, bin, "rows-in-a-bucket", env, "run", "cdcd.yaml", "--until", "caught-up")
	answer(t, addr, 1, "paid")
	answer(t, addr, 2, "")
	want := map[string]any{"id": 3.0, "email": "kay@example.com", "status": "placed", "total": "1.00"}
	if diff := cmp.Diff(want, answer(t, addr, 3, "placed")); diff != "" {
		t.Errorf("order 3:\n%s", diff)
	}
}

// answer asks the service until an order's status is as wanted; "" for none.
func answer(t *testing.T, addr string, id int, status string) map[string]any {
	t.Helper()
	var row map[string]any
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r, err := http.Get(fmt.Sprintf("http://%s/orders/%d", addr, id))
		if err != nil {
			continue
		}
		text, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		row = nil
		if err == nil && r.StatusCode == http.StatusOK {
			err = json.Unmarshal(text, &row)
		}
		if err != nil {
			t.Fatal(err)
		}
		if row["status"] == status || status == "" && r.StatusCode == http.StatusNotFound {
			return row
		}
	}
	t.Fatalf("order %d is %v, want status %q", id, row, status)
	return nil
}
