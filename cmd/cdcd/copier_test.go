package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// copier is a pipeline that copies tables when it is asked to, in processes that
// are killed.
type copier struct {
	*keeper
	rows  int
	api   string
	asks  map[string]*ask // snapshots that were asked for, by id
	order []string        // their ids
}

// ask is a snapshot that was asked for.
type ask struct {
	tables []string // without database
	mod    int64    // keys that this is a divisor of are copied
	ended  string   // its last state
}

// newCopier fills shop.orders and shop.names with rows that the stream never
// tells of, and writes a configuration that follows the log from its end.
func newCopier(t *testing.T, db *testserver.DB, rows int) *copier {
	t.Helper()
	db.CreateUser(t, "cdcd", "secret")
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, v BIGINT NOT NULL, note VARCHAR(200))",
		"CREATE TABLE shop.names (id INT PRIMARY KEY, v BIGINT NOT NULL, note VARCHAR(200))", "CREATE TABLE shop.other (id INT PRIMARY KEY)", "SET GLOBAL sync_binlog = 1")
	for from := 0; from < rows; from += 1000 {
		var values []string
		for k := from; k < min(rows, from+1000); k++ {
			values = append(values, fmt.Sprintf("(%d, 1, 'note %d')", k, k))
		}
		db.Exec(t, "INSERT INTO shop.orders VALUES "+strings.Join(values, ","))
		if from < rows/4 {
			db.Exec(t, "INSERT INTO shop.names VALUES "+strings.Join(values, ","))
		}
	}
	db.Exec(t, "ANALYZE TABLE shop.orders, shop.names")
	k := &keeper{t: t, db: db, dir: t.TempDir()}
	k.config = filepath.Join(k.dir, "cdcd.yaml")
	broker := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	k.url = "nats://" + broker
	listen := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	if err := os.WriteFile(k.config, fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source:
      mysql:
        dsn: %q
        tables: [shop.orders, shop.names]
        start: latest
        rate_limit: {rows_per_second: 5000}
        snapshot_options: {workers: 2, chunk_bytes: 64KiB}
    sink: {jetstream: {stream: SHOP, format: json, max_age: 1d}}
server: {listen: %q}
state: {dir: ./state}
nats: {embedded: {listen: %q}}
`, db.UserDSN("cdcd", "secret"), listen, broker), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.kill)
	return &copier{keeper: k, rows: rows, api: "http://" + listen + "/v1/pipelines/shop/snapshots", asks: map[string]*ask{}}
}

// snapshot runs a verb; the daemon may be down or on its way up.
func (c *copier) snapshot(args ...string) (all []telemetry.SnapshotRequest, err error) {
	c.t.Helper()
	cmd := program(c.t, c.dir, append([]string{"snapshot", args[0], c.config, "--json"}, args[1:]...)...)
	text, err := cmd.Output()
	for line := range strings.Lines(string(text)) {
		var r struct {
			telemetry.SnapshotRequest
			Error *faultJSON `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%w: %s", err, text)
		}
		if r.Error != nil {
			return nil, fault.New(fault.Config, r.Error.Code, r.Error.Path, r.Error.Hint, "%s", r.Error.Message)
		}
		all = append(all, r.SnapshotRequest)
	}
	return all, err
}

// asked runs a verb until it is answered, and returns the one snapshot of the answer.
func (c *copier) asked(args ...string) (r telemetry.SnapshotRequest) {
	c.t.Helper()
	c.eventually("cdcd snapshot "+strings.Join(args, " "), func() error {
		all, err := c.snapshot(args...)
		if err == nil && len(all) == 1 {
			r = all[0]
			return nil
		}
		return fmt.Errorf("%d snapshots: %w", len(all), err)
	})
	return r
}

// ask asks for a snapshot: what is asked of its keys is that they can be divided
// by mod.
func (c *copier) ask(mod int, columns []string, tables ...string) telemetry.SnapshotRequest {
	c.t.Helper()
	args := []string{"start"}
	for _, t := range tables {
		args = append(args, "--table", "shop."+t)
	}
	if mod > 1 {
		args = append(args, "--where", fmt.Sprintf("id %% %d = 0", mod))
	}
	for _, column := range columns {
		args = append(args, "--column", column)
	}
	r := c.asked(args...)
	c.asks[r.ID] = &ask{tables: tables, mod: int64(mod)}
	c.order = append(c.order, r.ID)
	return r
}

// state asks the running daemon how far a snapshot is; false while nobody answers.
func (c *copier) state(id string) (r telemetry.SnapshotRequest, ok bool) {
	answer, err := http.Get(c.api + "/" + id)
	if err != nil {
		return r, false
	}
	defer answer.Body.Close()
	return r, answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(&r) == nil
}

// open reports whether the running daemon knows from its stream how far snapshots are.
func (c *copier) open() bool {
	answer, err := http.Get(strings.TrimSuffix(c.api, "/snapshots"))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var s telemetry.Status
	return answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(&s) == nil && s.Source.Snapshot != nil
}

// write changes a writer's own keys of a table until stop is closed. Each change
// of a key has the next version.
func (c *copier) write(table string, writer, writers, keys int, stop <-chan struct{}) {
	conn := c.db.Conn(c.t)
	rng := rand.New(rand.NewPCG(uint64(writer), 7))
	version, gone := map[int]int64{}, map[int]bool{}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond):
		}
		k := writer + writers*rng.IntN(keys/writers)
		v := max(version[k], 1) + 1
		sql := fmt.Sprintf("UPDATE shop.%s SET v = %d WHERE id = %d", table, v, k)
		switch {
		case gone[k]:
			sql, gone[k] = fmt.Sprintf("INSERT INTO shop.%s VALUES (%d, %d, 'again')", table, k, v), false
		case rng.IntN(4) == 0:
			sql, gone[k] = fmt.Sprintf("DELETE FROM shop.%s WHERE id = %d", table, k), true
			v--
		}
		version[k] = v
		if _, err := conn.Execute(sql); err != nil {
			c.t.Errorf("%s: %v", sql, err)
			return
		}
	}
}

func (c *copier) table(name string) map[int64]string {
	rows := map[int64]string{}
	for _, r := range c.db.Query(c.t, "SELECT id, v, note FROM shop."+name) {
		id, err := strconv.ParseInt(r[0], 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		rows[id] = strings.Join(r, "|")
	}
	return rows
}

// load lets writers change both tables until the returned function is called.
func (c *copier) load() (stop func()) {
	quit := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() { c.write("orders", w, 2, c.rows, quit) })
	}
	writers.Go(func() { c.write("names", 0, 1, c.rows/4, quit) })
	return sync.OnceFunc(func() { close(quit); writers.Wait() })
}

// unlessOver runs a verb until it is answered, or the snapshot is over.
func (c *copier) unlessOver(verb, id string) (r telemetry.SnapshotRequest, over bool) {
	c.t.Helper()
	c.eventually("cdcd snapshot "+verb+" "+id, func() error {
		all, err := c.snapshot(verb, id)
		if over = fault.HasCode(err, "snapshot_over"); over {
			return nil
		}
		if err == nil && len(all) == 1 {
			r = all[0]
			return nil
		}
		return fmt.Errorf("%d snapshots: %w", len(all), err)
	})
	return r, over
}
