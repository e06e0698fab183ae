package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// content is all rows of all tables, by an id that no two rows share: a row
// that moves with its table's name is still the same.
type content map[string]map[string]string

// tableOf is the cell that holds a row's table.
const tableOf = "(table)"

// recorder changes tables and their definitions at random, and notes after each
// round what the server has.
type recorder struct {
	t    *testing.T
	db   *testserver.DB
	g    *generator
	conn *client.Conn
	id   int
	did  []string // the steps that the server took

	mu    sync.Mutex
	noted []content // by round
}

// rows returns a statement's rows as the server sent them.
func (r *recorder) rows(sql string) (out [][]string) {
	r.t.Helper()
	result, err := r.conn.Execute(sql)
	if err != nil {
		r.t.Fatalf("%v in %.300s", err, sql)
	}
	for _, data := range result.RowDatas {
		row := make([]string, result.ColumnNumber())
		for k := range row {
			text, null, n, err := mysql.LengthEncodedString(data)
			if err != nil {
				r.t.Fatal(err)
			}
			if row[k] = string(text); null {
				row[k] = cdctest.NullText
			}
			data = data[n:]
		}
		out = append(out, row)
	}
	return out
}

// try runs statements up to the first that the server refuses.
func (r *recorder) try(statements ...string) bool {
	for _, sql := range statements {
		if _, err := r.conn.Execute(sql); err != nil {
			return false
		}
	}
	return true
}

func (r *recorder) tables() (names []string) {
	for _, row := range r.rows("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'd' AND TABLE_NAME <> 'marks' ORDER BY 1") {
		names = append(names, row[0])
	}
	return names
}

// round changes a definition, touches every row so that the log has it by the
// new one, changes some rows, and marks the place.
func (r *recorder) round() {
	for range 3 {
		if step := r.g.step(); r.try(step...) {
			r.did = append(r.did, fmt.Sprintf("%d: %s", len(r.noted), strings.Join(step, "; ")))
			break
		}
	}
	for _, table := range r.tables() {
		quoted := definition.QuoteName(table)
		r.try("UPDATE " + quoted + " SET touch = touch + 1")
		for range 2 + r.g.r.IntN(8) {
			r.id++
			switch r.g.r.IntN(8) {
			case 0:
				r.try(fmt.Sprintf("UPDATE IGNORE %s SET %s = %s ORDER BY id LIMIT 2", quoted, r.g.column(), r.g.value()))
			case 1:
				r.try(fmt.Sprintf("DELETE FROM %s ORDER BY MOD(id, 7) LIMIT 1", quoted))
			default:
				r.try(fmt.Sprintf("INSERT IGNORE INTO %s (id, %s) VALUES (%d, %s)", quoted, r.g.column(), r.id, r.g.value()),
					fmt.Sprintf("UPDATE IGNORE %s SET %s = %s WHERE id = %d", quoted, r.g.column(), r.g.value(), r.id))
			}
		}
		r.try("UPDATE " + quoted + " SET touch = touch + 1")
	}
	now := r.content()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.try(fmt.Sprintf("INSERT INTO marks VALUES (%d)", len(r.noted))) {
		r.t.Fatal("no mark")
	}
	r.noted = append(r.noted, now)
}

// content asks for all rows.
func (r *recorder) content() content {
	all := content{}
	for _, table := range r.tables() {
		var names, what []string
		for _, c := range r.rows("SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'd' " +
			"AND TABLE_NAME = '" + table + "' ORDER BY ORDINAL_POSITION") {
			names, what = append(names, c[0]), append(what, expression(definition.QuoteName(c[0]), c[1], c[2]))
		}
		for _, values := range r.rows("SELECT " + strings.Join(what, ", ") + " FROM " + definition.QuoteName(table)) {
			row := map[string]string{tableOf: table}
			for i, v := range values {
				row[names[i]] = v
			}
			all[row["id"]] = row
		}
	}
	return all
}

// expression prints a column as cdctest.ServerText does.
func expression(column, dataType, columnType string) string {
	switch {
	case strings.HasSuffix(dataType, "blob") || strings.HasSuffix(dataType, "binary"):
		return "LOWER(HEX(" + column + "))"
	case dataType == "float":
		return "CAST(" + column + " AS DOUBLE)"
	case dataType == "bit" || strings.Contains(columnType, "zerofill"):
		return column + " + 0"
	case dataType == "year":
		return "LPAD(" + column + ", 4, '0')"
	}
	return column
}

// replay is what the rows of a stream make.
type replay struct {
	r     *recorder
	now   content
	after int // marks to let pass: the first rounds of a stream that begins in the middle
	marks int
	done  int // the last mark
}

var errReplayed = errors.New("replayed")

func (p *replay) batch(_ context.Context, b *cdc.Batch) error {
	defer b.Release()
	for i := range b.Rows() {
		if err := p.row(b.Row(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) row(row sdk.Row) error {
	s := row.Schema()
	if s.Table == "marks" {
		return p.mark(int(row.After().Int(0)))
	}
	id := s.Column("id")
	switch {
	case row.Op() == sdk.OpTruncate:
		maps.DeleteFunc(p.now, func(_ string, cells map[string]string) bool { return cells[tableOf] == s.Table })
		return nil
	case row.Before().Valid():
		delete(p.now, cdctest.ServerText(&s.Columns[id], row.Before(), id))
	}
	if row.Op() == sdk.OpDelete {
		return nil
	}
	cells := map[string]string{tableOf: s.Table}
	for i := range s.Columns {
		cells[s.Columns[i].Name] = cdctest.ServerText(&s.Columns[i], row.After(), i)
	}
	p.now[cells["id"]] = cells
	return nil
}

// mark compares what was replayed with what the server had at the mark.
func (p *replay) mark(n int) error {
	p.r.mu.Lock()
	want := p.r.noted[n]
	p.r.mu.Unlock()
	if p.marks++; p.marks > p.after {
		if d := cmp.Diff(want, p.now); d != "" {
			return fmt.Errorf("after round %d: %s", n, d)
		}
	}
	if n == p.done {
		return errReplayed
	}
	return nil
}

// step is a change of a definition.
func (g *generator) step() []string {
	t := g.table()
	switch g.r.IntN(16) {
	case 0, 1, 2:
		var list []string
		for range 1 + g.r.IntN(4) {
			list = append(list, g.column()+" "+g.def())
		}
		return []string{"CREATE TABLE " + g.one("", "IF NOT EXISTS ") + t + " (" + g.one("id BIGINT NOT NULL", "id BIGINT PRIMARY KEY") +
			", touch INT NOT NULL DEFAULT 0, " + strings.Join(list, ", ") + ")" + g.one("", " DEFAULT CHARSET=latin1", " COLLATE utf8mb4_bin")}
	case 3:
		return []string{"DELETE FROM " + t, "DROP TABLE " + t}
	case 4:
		return []string{"DELETE FROM t1", "DELETE FROM t2", "DROP TABLE IF EXISTS t1, nonesuch, t2"}
	case 5:
		return []string{"TRUNCATE TABLE " + t}
	case 6:
		return []string{g.one("CREATE TABLE "+t+" LIKE "+g.table(), "RENAME TABLE t1 TO x, t2 TO t1, x TO t2", "RENAME TABLE "+t+" TO "+g.table())}
	}
	// MariaDB takes clauses that contradict each other, which are not understood:
	// two of them are about different columns.
	clauses := []string{g.clause(), g.clause()}
	if shared(clauses[0], clauses[1]) {
		clauses = clauses[:1]
	}
	if strings.Contains(strings.Join(clauses, " "), "CONVERT") {
		clauses = []string{"FORCE"}
	}
	clauses = append(clauses, "COMMENT 'x'")
	for _, c := range clauses {
		// With other clauses, MariaDB leaves a table with such a name behind, rows and
		// all, which no log tells.
		if strings.HasPrefix(c, "RENAME ") && !strings.HasPrefix(c, "RENAME COLUMN") && !strings.HasPrefix(c, "RENAME INDEX") && t == "`T 3`" {
			clauses = []string{c}
			break
		}
	}
	return []string{"ALTER TABLE " + t + " " + strings.Join(clauses, ", ")}
}

// shared reports whether two clauses name the same column.
func shared(a, b string) bool {
	words := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,()`", r) })
	}
	return slices.ContainsFunc(words(a), func(w string) bool {
		return len(w) == 1 && slices.Contains(words(b), w)
	})
}

func (g *generator) value() string {
	return g.one("NULL", "0", "1", "-5", "200", "70000", "1.5", "'a'", "'b'''", "'ö'", "'x,y'", "'é '", "'2026-11-21 10:11:12.5'", "'12:13:14'",
		"'[1, 2]'", `'{"k": "ä"}'`, "x'00ff'", "x'6100'", "REPEAT('ü', 30)")
}

// TestReplayed: tables change at random, in rows and in definitions. What a
// stream's rows make is after each round what the server has: read while it
// happens, read from the beginning when all is over, and from the middle.
//
// A statement that is not understood stops a stream whose log has no names, if
// its rows can't be told any more. That must be rare.
func TestReplayed(t *testing.T) {
	run := func(t *testing.T, start func(testing.TB, ...testserver.Option) *testserver.DB, metadata string) {
		t.Parallel()
		for try := range 4 {
			seed := seedOf(t, "CDCD_REPLAYED_SEED", uint64(try)+1)
			r := newRecorder(t, start(t, testserver.Args("--binlog-row-metadata="+metadata)), seed)
			err := r.compare()
			if err == nil {
				return
			}
			t.Logf("seed %d, the steps:\n%s", seed, strings.Join(r.did, "\n"))
			if metadata == "FULL" || !fault.HasCode(err, "schema_uncertain") || try == 3 {
				t.Fatal(err)
			}
			t.Logf("stopped: %v", err)
		}
	}
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		t.Run("mysql "+metadata, func(t *testing.T) { run(t, testserver.MySQL, metadata) })
	}
	for _, metadata := range []string{"FULL", "MINIMAL", "NO_LOG"} {
		t.Run("mariadb "+metadata, func(t *testing.T) { run(t, testserver.MariaDB, metadata) })
	}
}

func newRecorder(t *testing.T, db *testserver.DB, seed uint64) *recorder {
	t.Helper()
	r := &recorder{t: t, db: db, g: &generator{rand.New(rand.NewPCG(seed, 2))}, conn: db.Conn(t)}
	if !r.try("CREATE DATABASE d", "USE d", "CREATE TABLE marks (n INT PRIMARY KEY)", "SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'") {
		t.Fatal("no session")
	}
	return r
}

// compare makes changes, and holds what streams give against what the server
// had; the error is the first difference, or what stopped a stream.
func (r *recorder) compare() error {
	const rounds = 60
	t, st := r.t, &store{}
	follow := func(c *Config, e *cdc.Env) { c.Tables, e.Schemas = []string{"d.*"}, st }
	src := open(t, r.db, follow)
	from, ended := initial(t, src), make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*runMax)
	defer cancel()
	read := func(src *Source, from cdc.Start, after int) error {
		p := &replay{r: r, now: content{}, after: after, done: rounds - 1}
		if err := src.Run(ctx, from, p.batch); !errors.Is(err, errReplayed) {
			return err
		}
		return nil
	}
	go func() { ended <- read(src, from, 0) }()
	for _, table := range []string{"t1", "t2", "`T 3`"} {
		r.try("CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, touch INT NOT NULL DEFAULT 0, a INT, b VARCHAR(20), c TEXT)")
	}
	var middles []cdc.Start
	for n := range rounds {
		r.round()
		if n%15 == 7 {
			p, err := src.Head(ctx)
			if err != nil {
				t.Fatal(err)
			}
			middles = append(middles, cdc.Start{Base: p})
		}
	}
	if err := <-ended; err != nil {
		return fmt.Errorf("while it happened: %w", err)
	}
	if err := read(open(t, r.db, func(c *Config, _ *cdc.Env) { c.Tables = []string{"d.*"} }), from, 0); err != nil {
		return fmt.Errorf("from the beginning: %w", err)
	}
	for i, p := range middles {
		if err := read(open(t, r.db, follow), p, 1); err != nil {
			return fmt.Errorf("from middle %d: %w", i, err)
		}
	}
	compared := 0
	for _, c := range r.noted {
		compared += len(c)
	}
	t.Logf("%d rows compared, three times", compared)
	if compared < rounds {
		t.Error("the tables stayed empty")
	}
	return nil
}
