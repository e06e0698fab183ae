package oracle

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// state is what a writer knows of one key.
type state struct {
	v     uint64 // of the last change, deletes included
	alive bool
}

// cell names a key: the table's number, and the key's.
type cell struct {
	table int
	n     uint64
}

// writer is one connection that owns every key n with n mod writers = id.
type writer struct {
	w       *Workload
	id      uint64
	rand    *rand.Rand
	tables  []*table
	session *testserver.Session // nil while disconnected

	keys    map[cell]state // as committed
	pending map[cell]state // as changed in the open transaction
	rows    int            // followed rows in the open transaction
	xa      bool           // it is one of two phases
}

func (wr *writer) disconnect() {
	if wr.session != nil {
		wr.session.Close()
		wr.session = nil
	}
}

// connect learns from the database itself what was committed.
func (wr *writer) connect() error {
	session, err := wr.w.db.Session()
	if err != nil {
		return err
	}
	wr.session, wr.pending, wr.rows = session, map[cell]state{}, 0
	if wr.keys != nil {
		wr.w.reconnects.Add(1)
	}
	wr.keys = map[cell]state{}
	if _, err := session.Exec("SET time_zone = '+00:00'"); err != nil {
		return err
	}
	// What was prepared when the server died waits for a decision.
	if err := wr.exec("XA COMMIT 'w%d'", wr.id); err != nil && testserver.ErrorCode(err) != codeUnknownXID {
		return err
	}
	mine := fmt.Sprintf("WHERE n %% %d = %d", wr.w.opt.Writers, wr.id)
	tomb, err := session.Query("SELECT tbl, n, v FROM " + DB + ".tomb " + mine)
	if err != nil {
		return err
	}
	for _, row := range tomb {
		wr.keys[cell{int(number(row[0])), number(row[1])}] = state{v: number(row[2])}
	}
	for i, t := range wr.tables {
		if t.shared {
			continue
		}
		rows, err := session.Query("SELECT n, v FROM " + DB + "." + t.name + " " + mine)
		if err != nil {
			return err
		}
		for _, row := range rows {
			wr.keys[cell{i, number(row[0])}] = state{v: number(row[1]), alive: true}
		}
	}
	return nil
}

// number reads what the server printed for an unsigned column.
func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic("not a number where the server prints one: " + text)
	}
	return n
}

// step runs one transaction, or a statement that must not show in the stream.
func (wr *writer) step() error {
	if wr.session == nil {
		if err := wr.connect(); err != nil {
			return err
		}
	}
	switch roll := wr.rand.IntN(100); {
	case roll < 2:
		return wr.unfollowedDDL()
	case roll < 6:
		return wr.exec("INSERT INTO %s.noise (body) VALUES (REPEAT('noise', %d))", DB, wr.rand.IntN(2000))
	case wr.w.opt.LargeEvery > 0 && oneIn(wr.rand, wr.w.opt.LargeEvery):
		return wr.transaction(wr.large)
	case roll < 16:
		return wr.transaction(wr.manyRows)
	}
	return wr.transaction(wr.small)
}

// transaction runs changes between BEGIN and COMMIT, or in one case in twelve,
// ROLLBACK; now and then as an XA transaction, which waits between its phases.
func (wr *writer) transaction(changes func() error) error {
	wr.xa = wr.w.opt.XAEvery > 0 && oneIn(wr.rand, wr.w.opt.XAEvery)
	if err := wr.exec("%s", wr.words("BEGIN", "XA START")); err != nil {
		return err
	}
	if err := changes(); err != nil {
		return err
	}
	if oneIn(wr.rand, 12) {
		wr.w.undone.Add(1)
		return wr.abandon()
	}
	wr.rows++
	if err := wr.exec("UPDATE %s.%s SET v = v + 1, n_rows = %d WHERE n = %d", DB, writerTable, wr.rows, wr.id); err != nil {
		return err
	}
	if err := wr.prepare(); err != nil {
		return err
	}
	if err := wr.exec("%s", wr.words("COMMIT", "XA COMMIT")); err != nil {
		return err
	}
	wr.w.transactions.Add(1)
	wr.w.rows.Add(int64(wr.rows))
	maps.Copy(wr.keys, wr.pending)
	wr.forget()
	return nil
}

// abandon undoes the open transaction.
func (wr *writer) abandon() error {
	wr.forget()
	if wr.xa {
		_ = wr.exec("%s", wr.words("", "XA END")) // refused where it has ended already
	}
	return wr.exec("%s", wr.words("ROLLBACK", "XA ROLLBACK"))
}

// words returns the statement of a plain transaction, or that of one of two
// phases.
func (wr *writer) words(plain, xa string) string {
	if !wr.xa {
		return plain
	}
	return fmt.Sprintf("%s 'w%d'", xa, wr.id)
}

// prepare ends the first phase, and lets others go on before the second.
func (wr *writer) prepare() error {
	if !wr.xa {
		return nil
	}
	for _, word := range []string{"XA END", "XA PREPARE"} {
		if err := wr.exec("%s", wr.words("", word)); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(wr.rand.IntN(50)) * time.Millisecond)
	return nil
}

func (wr *writer) forget() {
	clear(wr.pending)
	wr.rows = 0
}

// small is one to six changes of single keys, now and then some of them undone
// by a savepoint, now and then a shared row.
func (wr *writer) small() error {
	for range 1 + wr.rand.IntN(6) {
		if err := wr.change(); err != nil {
			return err
		}
	}
	if oneIn(wr.rand, 15) {
		if err := wr.undoneBySavepoint(); err != nil {
			return err
		}
	}
	if !oneIn(wr.rand, 4) {
		return nil
	}
	for _, n := range wr.rand.Perm(8)[:1+wr.rand.IntN(2)] { // in any order: some deadlock
		wr.rows++
		if err := wr.exec("UPDATE %s.hot SET v = v + 1 WHERE n = %d", DB, n); err != nil {
			return err
		}
	}
	return nil
}

func (wr *writer) undoneBySavepoint() error {
	before, rows := maps.Clone(wr.pending), wr.rows
	if err := wr.exec("SAVEPOINT here"); err != nil {
		return err
	}
	if err := wr.change(); err != nil {
		return err
	}
	wr.pending, wr.rows = before, rows
	return wr.exec("ROLLBACK TO SAVEPOINT here")
}

// change inserts a key without a row, or updates, moves or deletes one with.
func (wr *writer) change() error {
	c := wr.pick()
	s := wr.state(c)
	switch roll := wr.rand.IntN(10); {
	case !s.alive:
		return wr.insert(c.table, []uint64{c.n})
	case roll < 2:
		return wr.delete(c)
	case roll < 4:
		to := wr.pick()
		to.table = c.table
		to.n = to.n % (wr.tables[c.table].keys * uint64(wr.w.opt.Writers))
		to.n = to.n - to.n%uint64(wr.w.opt.Writers) + wr.id
		if wr.state(to).alive {
			return wr.update(c, c)
		}
		return wr.update(c, to)
	}
	return wr.update(c, c)
}

// pick returns one of the writer's own keys.
func (wr *writer) pick() cell {
	for {
		i := wr.rand.IntN(len(wr.tables))
		if t := wr.tables[i]; !t.shared {
			return cell{i, wr.rand.Uint64N(t.keys)*uint64(wr.w.opt.Writers) + wr.id}
		}
	}
}

func (wr *writer) state(c cell) state {
	if s, ok := wr.pending[c]; ok {
		return s
	}
	return wr.keys[c]
}

// insert writes rows with one statement.
func (wr *writer) insert(i int, keys []uint64) error {
	t := wr.tables[i]
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s.%s VALUES ", DB, t.name)
	for k, n := range keys {
		c := cell{i, n}
		v := wr.state(c).v + 1
		literals, _ := t.row(n, v)
		if k > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + strings.Join(literals, ", ") + ")")
		wr.pending[c] = state{v: v, alive: true}
	}
	wr.rows += len(keys)
	return wr.exec("%s", b.String())
}

// update writes the next version of a row; to another key, that key's next one.
func (wr *writer) update(from, to cell) error {
	t := wr.tables[from.table]
	v := wr.state(to).v + 1
	literals, _ := t.row(to.n, v)
	sets := make([]string, len(literals))
	for i := range literals {
		sets[i] = t.columns[i].name + " = " + literals[i]
	}
	if from != to {
		if err := wr.bury(from); err != nil {
			return err
		}
	}
	wr.pending[to] = state{v: v, alive: true}
	wr.rows++
	return wr.exec("UPDATE %s.%s SET %s WHERE n = %d", DB, t.name, strings.Join(sets, ", "), from.n)
}

func (wr *writer) delete(c cell) error {
	if err := wr.bury(c); err != nil {
		return err
	}
	wr.rows++
	return wr.exec("DELETE FROM %s.%s WHERE n = %d", DB, wr.tables[c.table].name, c.n)
}

// bury keeps a key's version where the next connection finds it.
func (wr *writer) bury(c cell) error {
	v := wr.state(c).v + 1
	wr.pending[c] = state{v: v}
	return wr.exec("REPLACE INTO %s.tomb VALUES (%d, %d, %d)", DB, c.table, c.n, v)
}

// manyRows inserts some tens of rows at once, and deletes as many one by one.
func (wr *writer) manyRows() error {
	c := wr.pick()
	var fresh []uint64
	for k := range wr.tables[c.table].keys {
		d := cell{c.table, k*uint64(wr.w.opt.Writers) + wr.id}
		if !wr.state(d).alive && len(fresh) < 10+int(c.n%60) {
			fresh = append(fresh, d.n)
		} else if wr.state(d).alive && oneIn(wr.rand, 20) {
			if err := wr.delete(d); err != nil {
				return err
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return wr.insert(c.table, fresh)
}

// large fills the writer's range of extra keys, or empties it again.
func (wr *writer) large() error {
	accounts, writers := 0, uint64(wr.w.opt.Writers)
	var dead, alive []uint64
	for k := range uint64(wr.w.opt.LargeRows) {
		n := largeKeys + k*writers + wr.id
		if wr.state(cell{accounts, n}).alive {
			alive = append(alive, n)
		} else {
			dead = append(dead, n)
		}
	}
	if len(alive) > 0 {
		return wr.deleteRange(accounts, alive)
	}
	const atOnce = 500
	for len(dead) > 0 {
		k := min(atOnce, len(dead))
		if err := wr.insert(accounts, dead[:k]); err != nil {
			return err
		}
		dead = dead[k:]
	}
	return nil
}

// deleteRange deletes all of the writer's extra keys with one statement.
func (wr *writer) deleteRange(i int, keys []uint64) error {
	mine := fmt.Sprintf("n >= %d AND n %% %d = %d", uint64(largeKeys), wr.w.opt.Writers, wr.id)
	if err := wr.exec("REPLACE INTO %s.tomb SELECT %d, n, v + 1 FROM %s.%s WHERE %s", DB, i, DB, wr.tables[i].name, mine); err != nil {
		return err
	}
	for _, n := range keys {
		c := cell{i, n}
		wr.pending[c] = state{v: wr.state(c).v + 1}
	}
	wr.rows += len(keys)
	return wr.exec("DELETE FROM %s.%s WHERE %s", DB, wr.tables[i].name, mine)
}

// unfollowedDDL changes, makes and drops tables that nobody follows.
func (wr *writer) unfollowedDDL() error {
	switch wr.rand.IntN(3) {
	case 0:
		name := fmt.Sprintf("%s.scratch_%d", DB, wr.id)
		if err := wr.exec("CREATE TABLE IF NOT EXISTS %s (id INT PRIMARY KEY, body TEXT)", name); err != nil {
			return err
		}
		if err := wr.exec("REPLACE INTO %s VALUES (1, 'not for the stream')", name); err != nil {
			return err
		}
		return wr.exec("DROP TABLE %s", name)
	case 1:
		return wr.exec("TRUNCATE TABLE %s.noise", DB)
	}
	return wr.exec("ALTER TABLE %s.noise COMMENT = 'changed %d times'", DB, wr.rand.IntN(1000))
}

func (wr *writer) exec(format string, args ...any) error {
	sql := format
	if len(args) > 0 {
		sql = fmt.Sprintf(format, args...)
	}
	_, err := wr.session.Exec(sql)
	return err
}
