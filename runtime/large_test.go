package runtime_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// Values beyond what a batch holds travel beside it: through the decoder, a step
// that edits the row, and into the message, whole.
func TestLargeValues(t *testing.T) {
	sizes := []int{65535, 65536, 65537, 1 << 20, 2 << 20}
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 8MB"))
		db.Exec(t, "SET GLOBAL max_allowed_packet = 64 * 1024 * 1024", "CREATE DATABASE shop",
			"CREATE TABLE shop.docs (id INT PRIMARY KEY, email VARCHAR(100), body LONGTEXT, raw LONGBLOB)")
		for i, n := range sizes {
			db.Exec(t, fmt.Sprintf("INSERT INTO shop.docs VALUES (%d, 'a@example.com', REPEAT('ü', %d), REPEAT(x'00ff', %d))", i, n/2, n/4))
		}
		db.Exec(t, "UPDATE shop.docs SET email = 'b@example.com' WHERE id = 4", "DELETE FROM shop.docs WHERE id = 3")
		run(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.docs]}}
    steps: [{wasm: mask, with: {columns: [email], how: redact}}]
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q}
`, db.DSN(), t.TempDir(), ns.URL()), pipeline.CaughtUp)

		type doc struct {
			ID               int
			Email, Body, Raw string
		}
		check := func(what string, d *doc) {
			if d == nil {
				t.Errorf("%s: no image", what)
				return
			}
			n := sizes[d.ID]
			raw, err := base64.StdEncoding.DecodeString(d.Raw)
			if d.Body != strings.Repeat("ü", n/2) || err != nil || string(raw) != strings.Repeat("\x00\xff", n/4) || strings.Contains(d.Email, "@example") {
				t.Errorf("%s of row %d: %d bytes of text, %d of binary (%v), email %q", what, d.ID, len(d.Body), len(raw), err, d.Email)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ops := ""
		for _, m := range readFrom(ctx, t, ns.Conn(t)) {
			var change struct {
				Op            string
				Before, After *doc
			}
			if err := json.Unmarshal(m.Data, &change); err != nil {
				t.Fatal(err)
			}
			ops += change.Op
			if change.Op != "c" {
				check("before", change.Before)
			}
			if change.Op != "d" {
				check("after", change.After)
			}
		}
		if ops != "cccccud" {
			t.Errorf("operations %q", ops)
		}
	})
}
