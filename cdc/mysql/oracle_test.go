package mysql

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// event is a row as the oracles have it.
type event struct {
	Op, Table     string
	Before, After string // values separated by "|"; "" for no image
}

// imageText prints an image's values.
func imageText(row sdk.Row, m sdk.Image) string {
	if !m.Valid() {
		return ""
	}
	var values []string
	for c, column := range row.Schema().Columns {
		switch {
		case m.IsAbsent(c):
			values = append(values, "absent")
		case m.IsNull(c):
			values = append(values, "NULL")
		case column.Type == sdk.TypeInt:
			values = append(values, strconv.FormatInt(m.Int(c), 10))
		default:
			values = append(values, string(m.Bytes(c)))
		}
	}
	return strings.Join(values, "|")
}

// streamed reads the whole log, starting anew at some of the batches' ends.
func streamed(t testing.TB, db *testserver.DB, rng *rand.Rand) (all []event) {
	t.Helper()
	change := func(c *Config, _ *cdc.Env) { c.Tables = []string{"w.*"} }
	from := initial(t, open(t, db, change))
	head, err := open(t, db).Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for {
		src, left := open(t, db, change), 1+rng.IntN(200)
		src.held = 1 + rng.IntN(4000)
		caughtUp := false
		err := src.Run(t.Context(), from, func(_ context.Context, b *cdc.Batch) error {
			defer b.Release()
			for i := range b.Rows() {
				row := b.Row(i)
				all = append(all, event{string(row.Op().Letter()), row.Schema().Table, imageText(row, row.Before()), imageText(row, row.After())})
			}
			left--
			if caughtUp, _ = src.Covers(b.End, head); !caughtUp && (left > 0 || b.Begin == b.End) {
				return nil
			}
			from.Base = b.End
			return errDone
		})
		if err != errDone {
			t.Fatal(err)
		}
		if caughtUp {
			return all
		}
	}
}

// replayed applies rows to empty tables: each row that is changed must be there
// as the log says it was.
func replayed(t testing.TB, all []event) map[string][]string {
	t.Helper()
	count := map[string]map[string]int{}
	for i, e := range all {
		if count[e.Table] == nil {
			count[e.Table] = map[string]int{}
		}
		rows := count[e.Table]
		if e.Before != "" {
			if rows[e.Before] == 0 {
				t.Fatalf("row %d: %+v changes what is not there", i, e)
			}
			rows[e.Before]--
		}
		if e.After != "" {
			rows[e.After]++
		}
	}
	tables := map[string][]string{}
	for table, rows := range count {
		for text, n := range rows {
			tables[table] = append(tables[table], slices.Repeat([]string{text}, n)...)
		}
		slices.Sort(tables[table])
	}
	return tables
}

// TestRandomWorkload: whatever sessions do, the stream's rows make the tables,
// and they are the rows that the server's own tool reads in the log.
// CDCD_WORKLOAD_STATEMENTS and CDCD_WORKLOAD_SEED make it longer, or repeat one.
func TestRandomWorkload(t *testing.T) {
	statements := 900
	if n, err := strconv.Atoi(os.Getenv("CDCD_WORKLOAD_STATEMENTS")); err == nil {
		statements = n
	}
	seed := seedOf(t, "CDCD_WORKLOAD_SEED", 1)
	for name, start := range map[string]func(t *testing.T) *testserver.DB{
		"mysql":              func(t *testing.T) *testserver.DB { return testserver.MySQL(t) },
		"mysql without gtid": func(t *testing.T) *testserver.DB { return testserver.MySQL(t, testserver.NoGTID()) },
		"mariadb":            func(t *testing.T) *testserver.DB { return testserver.MariaDB(t) },
		"mariadb compressed": func(t *testing.T) *testserver.DB {
			return testserver.MariaDB(t, testserver.Args("--log-bin-compress=ON", "--log-bin-compress-min-len=10"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("CDCD_WORKLOAD_SEED=%d", seed)
			db := start(t)
			done := work(t, db, seed, statements)
			all := streamed(t, db, rand.New(rand.NewPCG(seed, 7)))
			t.Logf("%d rows of %v", len(all), done)
			tables := replayed(t, all)
			for _, r := range db.Query(t, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'w'") {
				var want []string
				for _, values := range db.Query(t, "SELECT * FROM w."+r[0]) {
					want = append(want, strings.Join(values, "|"))
				}
				slices.Sort(want)
				if r[0] == "child" && db.Flavor == testserver.FlavorMariaDB {
					continue // its cascades are not in the log
				}
				if d := cmp.Diff(want, tables[r[0]]); d != "" {
					t.Errorf("table %s: %s", r[0], d)
				}
			}
			if d := cmp.Diff(printed(t, db), withoutDocs(all)); d != "" {
				t.Errorf("the server's tool reads other rows: %.4000s", d)
			}
		})
	}
}

// withoutDocs leaves out the table whose values the tool prints in parts.
func withoutDocs(all []event) (list []event) {
	for _, e := range all {
		if e.Table != "doc" {
			list = append(list, e)
		}
	}
	return list
}

var (
	printedRow   = regexp.MustCompile("^### (INSERT INTO|UPDATE|DELETE FROM) `w`\\.`(\\w+)`$")
	printedValue = regexp.MustCompile(`^###   @\d+=(.*)$`)
	printedXA    = regexp.MustCompile(`^XA (START|PREPARE|COMMIT|ROLLBACK) (X'[0-9a-f]*',X'[0-9a-f]*',\d+)( ONE PHASE)?`)
)

// printed returns the rows that mysqlbinlog reads, in the order of commit.
func printed(t testing.TB, db *testserver.DB) (all []event) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no log", err)
	}
	out := db.Binlog(t, append([]string{"-v", "--base64-output=DECODE-ROWS"}, files...)...)
	var e *event
	open, xa := map[string][]event{}, ""
	add := func() {
		switch {
		case e == nil || e.Table == "doc":
		case xa != "":
			open[xa] = append(open[xa], *e)
		default:
			all = append(all, *e)
		}
		e = nil
	}
	var image *string
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case printedRow.MatchString(line):
			add()
			m := printedRow.FindStringSubmatch(line)
			e = &event{Op: map[string]string{"INSERT INTO": "c", "UPDATE": "u", "DELETE FROM": "d"}[m[1]], Table: m[2]}
		case line == "### WHERE":
			image = &e.Before
		case line == "### SET":
			image = &e.After
		case e != nil && printedValue.MatchString(line):
			if *image != "" {
				*image += "|"
			}
			*image += plainValue(printedValue.FindStringSubmatch(line)[1])
		case strings.HasPrefix(line, "###"):
		default:
			add()
			m := printedXA.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			switch id := m[2]; {
			case m[1] == "START":
				xa = id
				delete(open, id)
			case m[1] == "PREPARE":
				xa = ""
			case m[1] == "COMMIT":
				all = append(all, open[id]...)
				xa = ""
			}
		}
	}
	add()
	return all
}

// plainValue takes quotes off a printed value, and what the tool adds to
// negative numbers, which may be unsigned ones.
func plainValue(text string) string {
	if strings.HasPrefix(text, "'") {
		return strings.Trim(text, "'")
	}
	text, _, _ = strings.Cut(text, " ")
	return text
}
