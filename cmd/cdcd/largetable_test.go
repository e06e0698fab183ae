package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestSnapshotOfALargeTable copies a table into a file while a writer changes,
// deletes and inserts rows all over it: no row's image steps back, none is read
// twice, what the file tells is the table, and memory is bounded. With
// CDCD_TEST_LARGE=1 (make test-snapshot-large) it has 10,000,000, and memory stays
// where it was in the first half; the small one is over before that is full.
func TestSnapshotOfALargeTable(t *testing.T) {
	rows, peakMax := 200_000, int64(192*mib)
	large := os.Getenv("CDCD_TEST_LARGE") != ""
	if large {
		rows, peakMax = 10_000_000, 256*mib
	}
	db := testserver.MySQL(t, testserver.Args("--innodb-buffer-pool-size=1G", "--innodb-redo-log-capacity=1G"))
	begun := time.Now()
	fillTable(t, db, rows)
	t.Logf("%d rows were written in %v", rows, time.Since(begun).Round(time.Millisecond))

	out := filepath.Join(t.TempDir(), "rows.jsonl")
	p := begin(t, fmt.Sprintf(`version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders], snapshot: initial}}
    sink: {file: {path: %q}}
`, db.DSN(), out))
	w := &rowWriter{db: db, rows: rows, stop: make(chan struct{}), done: make(chan error, 1)}
	go w.run()
	var tenths [10]int64 // most memory in each tenth of the rows
	var held int64
	begun = time.Now()
	for complete := false; !complete; time.Sleep(50 * time.Millisecond) {
		s, ok := p.status("shop")
		if !p.running() || time.Since(begun) > time.Hour {
			t.Fatalf("after %v: %+v", time.Since(begun), s)
		}
		if !ok || s.Source.Snapshot == nil {
			continue
		}
		complete = s.Source.Snapshot.Complete
		held = max(held, s.BudgetBytes)
		tenth := &tenths[min(9, s.RowsOut*10/uint64(rows))]
		*tenth = max(*tenth, p.rss()/mib)
	}
	took := time.Since(begun)
	close(w.stop)
	if err := <-w.done; err != nil {
		t.Fatal(err)
	}
	db.Exec(t, "INSERT INTO shop.orders VALUES (-1, 0, 'the last')")
	awaitLast(t, p, out)
	peak := p.peak()
	p.stop()
	t.Logf("%d rows in %v, %.0f a second, beside %d changes; memory at most %d MiB, in each tenth of the rows %d; %d MiB in flight", rows,
		took.Round(time.Millisecond), float64(rows)/took.Seconds(), w.changes, peak/mib, tenths, held/mib)
	if w.changes < 20 {
		t.Errorf("%d changes beside the copy", w.changes)
	}
	if first, second := slices.Max(tenths[:5]), slices.Max(tenths[5:]); peak > peakMax || large && second > first+32 {
		t.Errorf("memory is not bounded, or not flat")
	}
	heard := readHeard(t, out, rows)
	heard.compare(t, db)
}

// fillTable makes a table with keys from 0 on, of which the log has nothing.
func fillTable(t *testing.T, db *testserver.DB, rows int) {
	t.Helper()
	fill := []string{"CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, v INT NOT NULL, note CHAR(60) NOT NULL) CHARSET latin1",
		"SET SESSION sql_log_bin = 0", "INSERT INTO shop.orders VALUES (0, 0, REPEAT('n', 50))"}
	const most = 1 << 20 // of a statement
	for have := 1; have < rows; {
		n := min(have, most, rows-have)
		fill = append(fill, fmt.Sprintf("INSERT INTO shop.orders SELECT id + %d, 0, note FROM shop.orders WHERE id < %d", have, n))
		have += n
	}
	session, err := db.Session()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for _, sql := range append(fill, "ANALYZE TABLE shop.orders") {
		if _, err := session.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// rowWriter changes random rows, as often as the server lets it. Versions rise
// from one change to the next.
type rowWriter struct {
	db      *testserver.DB
	rows    int
	changes int
	stop    chan struct{}
	done    chan error
}

func (w *rowWriter) run() {
	session, err := w.db.Session()
	if err == nil {
		defer session.Close()
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for err == nil {
		select {
		case <-w.stop:
			w.done <- nil
			return
		default:
		}
		w.changes++
		id := rng.IntN(w.rows)
		switch rng.IntN(4) {
		case 0:
			_, err = session.Exec(fmt.Sprintf("DELETE FROM shop.orders WHERE id = %d", id))
		case 1:
			_, err = session.Exec(fmt.Sprintf("REPLACE INTO shop.orders VALUES (%d, %d, 'again')", id, w.changes))
		case 2:
			_, err = session.Exec(fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, %d, 'new')", w.rows+w.changes, w.changes))
		default: // and its neighbours
			_, err = session.Exec(fmt.Sprintf("UPDATE shop.orders SET v = %d WHERE id BETWEEN %d AND %d", w.changes, id, id+5))
		}
	}
	w.done <- err
}

// awaitLast waits for the row that is written last.
func awaitLast(t *testing.T, p *process, path string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		tail := make([]byte, 4096)
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := f.ReadAt(tail, max(0, info.Size()-int64(len(tail)))) // short at the end
		_ = f.Close()
		if bytes.Contains(tail[:n], []byte(`"id":-1,`)) {
			return
		}
		if !p.running() || time.Now().After(end) {
			t.Fatalf("the last row has not come; the file ends with %s", tail[:n])
		}
	}
}

// heard is what a consumer of the file knows.
type heard struct {
	newest map[int]uint32 // version of a row that changed; a deleted row's next one
	plain  []bool         // rows that were read, and have not changed
	alive  map[int]bool   // rows that changed and are there
	read   []bool
}

// readHeard reads the file and checks what holds for each of its lines.
func readHeard(t *testing.T, path string, rows int) *heard {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k := &heard{newest: map[int]uint32{}, alive: map[int]bool{}, plain: make([]bool, rows), read: make([]bool, 2*rows)}
	lines, bad := bufio.NewScanner(f), 0
	for n := 1; lines.Scan(); n++ {
		if wrong := k.line(lines.Bytes()); wrong != "" {
			if bad++; bad < 10 {
				t.Errorf("line %d: %s: %s", n, wrong, lines.Bytes())
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return k
}

// line takes a line over, and returns what is wrong with it.
func (k *heard) line(line []byte) string {
	_, rest, _ := bytes.Cut(line, []byte(`"op":"`))
	op := rest[0]
	id, v := number(line, `"id":`), uint32(number(line, `"v":`)) // of the image that comes first
	if op == 'u' {
		if _, after, ok := bytes.Cut(line, []byte(`"after":`)); ok {
			id, v = number(after, `"id":`), uint32(number(after, `"v":`))
		}
	}
	if last, ok := k.newest[id]; ok && v < last {
		return fmt.Sprintf("row %d steps back from version %d", id, last)
	}
	if op == 'r' {
		if id < 0 || id >= len(k.read) || k.read[id] {
			return fmt.Sprintf("row %d is read again", id)
		}
		if k.read[id] = true; v == 0 && id < len(k.plain) && k.newest[id] == 0 {
			k.plain[id] = true
			return ""
		}
	}
	if id >= 0 && id < len(k.plain) {
		k.plain[id] = false
	}
	if op == 'd' {
		v++
	}
	k.newest[id], k.alive[id] = v, op != 'd'
	return ""
}

// number returns the number behind a JSON key.
func number(line []byte, key string) int {
	_, rest, _ := bytes.Cut(line, []byte(key))
	end := 0
	for end < len(rest) && (rest[end] == '-' || rest[end] >= '0' && rest[end] <= '9') {
		end++
	}
	n, err := strconv.Atoi(string(rest[:end]))
	if err != nil {
		return -2
	}
	return n
}

// compare holds what was heard against the table.
func (k *heard) compare(t *testing.T, db *testserver.DB) {
	t.Helper()
	untouched := 0
	for _, there := range k.plain {
		if there {
			untouched++
		}
	}
	if got := db.Value(t, "SELECT COUNT(*) FROM shop.orders WHERE v = 0 AND id >= 0"); got != strconv.Itoa(untouched) {
		t.Errorf("%d rows have not changed by the file, %s by the table", untouched, got)
	}
	changed := 0
	for _, there := range k.alive {
		if there {
			changed++
		}
	}
	list := db.Query(t, "SELECT id, v FROM shop.orders WHERE v > 0 OR id < 0")
	if len(list) != changed {
		t.Errorf("%d rows have changed by the file, %d by the table", changed, len(list))
	}
	for _, r := range list {
		id, _ := strconv.Atoi(r[0])
		if v, _ := strconv.ParseUint(r[1], 10, 32); !k.alive[id] || k.newest[id] != uint32(v) {
			t.Errorf("row %d has version %d by the file, %d by the table", id, k.newest[id], v)
			return
		}
	}
}
