package mysql

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// workTables are what the random workload changes.
func workTables(db *testserver.DB) []string {
	return []string{
		"CREATE DATABASE w", "USE w",
		"CREATE TABLE a (id INT PRIMARY KEY, v INT, s VARCHAR(50))",
		"CREATE TABLE b (k INT, l VARCHAR(20), n DECIMAL(10,2), PRIMARY KEY (k, l))",
		"CREATE TABLE parent (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, a INT, what VARCHAR(10))",
		"CREATE TABLE m (id INT PRIMARY KEY, v INT) ENGINE=MyISAM",
		"CREATE TABLE nokey (v INT, s VARCHAR(10))",
		"CREATE TABLE doc (id INT PRIMARY KEY, d JSON)",
		"CREATE TRIGGER ai AFTER INSERT ON a FOR EACH ROW INSERT INTO audit (a, what) VALUES (NEW.id, 'insert')",
		"CREATE TRIGGER ad AFTER DELETE ON a FOR EACH ROW UPDATE audit SET what = 'gone' WHERE a = OLD.id",
	}
}

// worker is one session of the workload. Each has its own range of ids, so that
// none waits long for another.
type worker struct {
	*rand.Rand
	s      *testserver.Session
	n      int
	maria  bool
	dir    string // for LOAD DATA
	state  string // "", "tx", "xa", "prepared"
	saved  int    // savepoints
	mixed  bool   // the transaction changed a table without transactions
	loaded int
	done   map[string]int // statements that were executed, by kind
}

func (w *worker) id() int { return w.n*1000 + w.IntN(40) }

func (w *worker) word() string {
	return []string{"x", "yy", "long" + strings.Repeat("z", 40), "", "w1", "q"}[w.IntN(6)]
}

func (w *worker) pick(list ...string) string { return list[w.IntN(len(list))] }

// values returns rows of table a.
func (w *worker) values() string {
	rows := make([]string, 1+w.IntN(4)*w.IntN(4))
	for i := range rows {
		rows[i] = fmt.Sprintf("(%d, %d, '%s')", w.id(), w.IntN(100)-50, w.word())
	}
	return strings.Join(rows, ",")
}

// change returns a statement that changes rows, and its kind.
func (w *worker) change() (kind, sql string) {
	id, v := w.id(), w.IntN(100)-50
	list := [][2]string{
		{"insert", "INSERT INTO a VALUES " + w.values()},
		{"insert ignore", "INSERT IGNORE INTO a VALUES " + w.values()},
		{"on duplicate", "INSERT INTO a VALUES " + w.values() + " ON DUPLICATE KEY UPDATE v = v + 1"},
		{"replace", "REPLACE INTO a VALUES " + w.values()},
		{"update", fmt.Sprintf("UPDATE a SET v = v + %d, s = NULL WHERE id BETWEEN %d AND %d", v, id, id+3)},
		{"update key", fmt.Sprintf("UPDATE IGNORE a SET id = %d WHERE id = %d", w.id(), id)},
		{"delete", fmt.Sprintf("DELETE FROM a WHERE id BETWEEN %d AND %d", id, id+2)},
		{"two keys", fmt.Sprintf("REPLACE INTO b VALUES (%d, '%s', %d.%02d)", id, w.word(), v, w.IntN(100))},
		{"insert select", fmt.Sprintf("INSERT IGNORE INTO b SELECT id, 's', v FROM a WHERE id BETWEEN %d AND %d", id, id+9)},
		{"multi update", fmt.Sprintf("UPDATE a JOIN b ON a.id = b.k SET a.v = a.v + 1, b.n = b.n + 1 WHERE a.id BETWEEN %d AND %d", id, id+9)},
		{"multi delete", fmt.Sprintf("DELETE a, b FROM a JOIN b ON a.id = b.k WHERE a.id BETWEEN %d AND %d", id, id+4)},
		{"parent", fmt.Sprintf("INSERT INTO parent VALUES (%d, %d)", id, v)},
		{"child", fmt.Sprintf("INSERT IGNORE INTO child SELECT id + 100 * %d, id FROM parent WHERE id BETWEEN %d AND %d", w.IntN(9), id, id+20)},
		{"parent's own", fmt.Sprintf("UPDATE parent SET v = %d WHERE id = %d", v, id)},
		{"cascade delete", fmt.Sprintf("DELETE FROM parent WHERE id = %d", id)},
		{"cascade update", fmt.Sprintf("UPDATE IGNORE parent SET id = %d WHERE id = %d", w.id(), id)},
		{"no key", fmt.Sprintf("INSERT INTO nokey VALUES (%d, 'n'), (%d, NULL)", id, id)},
		{"no key update", fmt.Sprintf("UPDATE nokey SET s = '%d' WHERE v = %d LIMIT 1", w.IntN(9), id)},
		{"doc", fmt.Sprintf(`REPLACE INTO doc VALUES (%d, '{"a": 1, "b": [1, "x", {"c": "%s"}]}')`, id, strings.Repeat("d", w.IntN(400)))},
		{"doc part", fmt.Sprintf("UPDATE doc SET d = JSON_SET(d, '$.a', %d, '$.b[1]', '%s') WHERE id BETWEEN %d AND %d", v, w.word(), id, id+5)},
		{"doc remove", fmt.Sprintf("UPDATE doc SET d = JSON_REMOVE(d, '$.b[0]') WHERE id = %d", id)},
		{"load", w.load()},
	}
	if w.state != "xa" { // the servers refuse some mixtures there
		list = append(list, [2]string{"myisam", fmt.Sprintf("REPLACE INTO m VALUES (%d, %d), (%d, %d)", id, v, w.id(), v)},
			[2]string{"myisam update", fmt.Sprintf("UPDATE m SET v = v + 1 WHERE id BETWEEN %d AND %d", id, id+5)},
			[2]string{"myisam joined", fmt.Sprintf("UPDATE a JOIN m ON a.id = m.id SET a.v = m.v, m.v = %d WHERE a.id BETWEEN %d AND %d", v, id, id+9)})
	}
	c := list[w.IntN(len(list))]
	return c[0], c[1]
}

// load writes a file and returns the LOAD DATA of it.
func (w *worker) load() string {
	w.loaded++
	name := filepath.Join(w.dir, fmt.Sprintf("load%d_%d.csv", w.n, w.loaded%3))
	text := fmt.Sprintf("%d\t1\tloaded\n%d\t\\N\t%s\n", w.id(), w.id(), w.word())
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return "SELECT 1"
	}
	return "LOAD DATA INFILE '" + name + "' " + w.pick("REPLACE", "IGNORE") + " INTO TABLE a"
}

// step runs one statement. Errors are the server's to give; after one in an XA
// transaction, or one that undid it, the transaction is given up.
func (w *worker) step() {
	kind, sql, next := w.next()
	_, err := w.s.Exec(sql)
	if err == nil {
		w.done[kind]++
		if kind == "myisam" || kind == "myisam update" || kind == "myisam joined" {
			w.mixed = true
		}
		w.state = next
		return
	}
	xid := fmt.Sprintf("'x%d'", w.n)
	switch code := testserver.ErrorCode(err); {
	case w.state == "prepared":
		w.s.Exec("XA ROLLBACK " + xid)
	case w.state == "xa":
		w.s.Exec("XA END " + xid)
		w.s.Exec("XA ROLLBACK " + xid)
	case code != 1205 && code != 1213 && w.state == "tx":
		return
	default:
		w.s.Exec("ROLLBACK")
	}
	w.state = ""
}

// next returns the next statement, and the state behind it.
func (w *worker) next() (kind, sql, state string) {
	xid := fmt.Sprintf("'x%d'", w.n)
	n := w.IntN(100)
	switch {
	case w.state == "prepared" && n < 40:
		return "xa commit", "XA COMMIT " + xid, ""
	case w.state == "prepared" && n < 55:
		return "xa rollback", "XA ROLLBACK " + xid, ""
	case w.state == "prepared":
		return "wait", "DO 0", w.state
	case w.state == "xa" && n < 25:
		if _, err := w.s.Exec("XA END " + xid); err != nil {
			return "wait", "DO 0", ""
		}
		if n < 5 {
			return "one phase", "XA COMMIT " + xid + " ONE PHASE", ""
		}
		return "xa prepare", "XA PREPARE " + xid, "prepared"
	case w.state == "tx" && n < 15:
		return "commit", "COMMIT", ""
	case w.state == "tx" && n < 22:
		return "rollback", "ROLLBACK", ""
	case w.state == "tx" && n < 30 && !w.mixed:
		w.saved++
		return "savepoint", "SAVEPOINT s" + fmt.Sprint(w.saved%3), w.state
	case w.state == "tx" && n < 36 && !w.mixed && w.saved > 0:
		return "rollback to", "ROLLBACK TO s" + fmt.Sprint(w.IntN(3)), w.state
	case w.state == "" && n < 20:
		w.mixed, w.saved = false, 0
		return "begin", "BEGIN", "tx"
	case w.state == "" && n < 28:
		return "xa start", "XA START " + xid, "xa"
	case w.state == "" && n < 32:
		return "flush", "FLUSH BINARY LOGS", ""
	case w.state == "" && n < 36 && !w.maria:
		return "compression", "SET binlog_transaction_compression=" + w.pick("ON", "OFF"), ""
	case w.state == "" && n < 40 && !w.maria:
		return "row values", "SET binlog_row_value_options='" + w.pick("PARTIAL_JSON", "") + "'", ""
	}
	kind, sql = w.change()
	if strings.HasPrefix(kind, "myisam") && w.saved > 0 && w.state == "tx" {
		return "wait", "DO 0", w.state // what is undone behind it could not be told
	}
	return kind, sql, w.state
}

// kinds are what a workload must have in it to prove anything.
var kinds = []string{"insert", "multi delete", "xa commit", "xa rollback", "one phase", "rollback to", "load", "child",
	"cascade delete", "myisam", "doc part"}

// work runs a workload of so many statements, and of as many more as it takes
// for each of kinds to be among them. It returns how many there were of each.
func work(t testing.TB, db *testserver.DB, seed uint64, statements int) map[string]int {
	t.Helper()
	db.Exec(t, workTables(db)...)
	done := map[string]int{}
	var all []*worker
	for n := range 3 {
		s, err := db.Session()
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{Rand: rand.New(rand.NewPCG(seed, uint64(n))), s: s, n: n + 1, done: done, dir: db.BinlogDir(),
			maria: db.Flavor == testserver.FlavorMariaDB}
		all = append(all, w)
		for _, sql := range []string{"USE w", "SET innodb_lock_wait_timeout=1", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"} {
			if _, err := s.Exec(sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	order := rand.New(rand.NewPCG(seed, 99))
	lacks := func(kind string) bool { return done[kind] == 0 }
	for n := 0; n < statements || slices.ContainsFunc(kinds, lacks); n++ {
		if n > statements+10_000 {
			t.Fatalf("seed %d makes not each kind of statement: %v", seed, done)
		}
		all[order.IntN(len(all))].step()
	}
	for _, w := range all {
		xid := fmt.Sprintf("'x%d'", w.n)
		switch w.state {
		case "tx":
			w.s.Exec("COMMIT")
		case "xa":
			w.s.Exec("XA END " + xid)
			w.s.Exec("XA ROLLBACK " + xid)
		case "prepared":
			w.s.Exec("XA COMMIT " + xid)
		}
		w.s.Close()
	}
	return done
}
