package binlog_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

func itoa(n int) string { return strconv.Itoa(n) }

// b64lines is how MySQL writes n letters x in base 64.
func b64lines(n int) string {
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", n)))
	for at := 76; at < len(text); at += 78 {
		text = text[:at] + `\n` + text[at:]
	}
	return text
}

// change is one decoded row as text; nil images are not there.
type change struct {
	op            sdk.Op
	before, after []string
}

// decoded prints a value as the server's SELECT does; bytes in hexadecimal.
func decoded(c *sdk.Column, m sdk.Image, i int) string {
	switch {
	case m.IsAbsent(i):
		return "ABSENT"
	case m.IsNull(i):
		return null
	}
	frac := func(us int64) string {
		if c.Scale == 0 {
			return ""
		}
		return fmt.Sprintf(".%06d", us)[:c.Scale+1]
	}
	switch c.Type {
	case sdk.TypeInt:
		return strconv.FormatInt(m.Int(i), 10)
	case sdk.TypeUint, sdk.TypeBit:
		return strconv.FormatUint(m.Uint(i), 10)
	case sdk.TypeYear:
		return fmt.Sprintf("%04d", m.Uint(i))
	case sdk.TypeFloat32, sdk.TypeFloat64:
		return strconv.FormatFloat(m.Float(i), 'g', -1, 64)
	case sdk.TypeDate:
		y, mo, d := sdk.UnpackDate(m.Uint(i))
		return fmt.Sprintf("%04d-%02d-%02d", y, mo, d)
	case sdk.TypeDateTime:
		v := sdk.UnpackDateTime(m.Uint(i))
		return fmt.Sprintf("%04d-%02d-%02d %02d:%02d:%02d", v.Year, v.Month, v.Day, v.Hour, v.Minute, v.Second) + frac(int64(v.Micro))
	case sdk.TypeTimestamp:
		us := m.Int(i)
		if us == 0 {
			return "0000-00-00 00:00:00" + frac(0)
		}
		return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05") + frac(us%1e6)
	case sdk.TypeTime:
		us, sign := m.Int(i), ""
		if us < 0 {
			us, sign = -us, "-"
		}
		return fmt.Sprintf("%s%02d:%02d:%02d", sign, us/3600e6, us/60e6%60, us/1e6%60) + frac(us%1e6)
	case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
		return hex.EncodeToString(m.Bytes(i))
	}
	return string(m.Bytes(i))
}

// logReader decodes the rows of a server's log.
type logReader struct {
	p       *binlog.Parser
	catalog func(m *binlog.TableMap) *binlog.CatalogTable
	schemas map[string]*sdk.Schema // the last of each table
	plans   map[*binlog.TableMap]*binlog.RowPlan
	all     []*sdk.Schema
	changes map[string][]change
	other   []binlog.Event // all but table maps and rows, bodies copied
	b       sdk.Builder
	partial int // events that may have parts of documents
}

func newLogReader(flavor string, catalog func(*binlog.TableMap) *binlog.CatalogTable) *logReader {
	return &logReader{
		p:       binlog.NewParser(binlog.Options{Flavor: flavor, VerifyChecksum: true}),
		catalog: catalog,
		schemas: map[string]*sdk.Schema{}, plans: map[*binlog.TableMap]*binlog.RowPlan{}, all: []*sdk.Schema{nil},
		changes: map[string][]change{},
	}
}

func (r *logReader) event(ev binlog.Event) error {
	switch {
	case ev.Type == binlog.TableMapEvent:
		_, err := r.p.TableMap(ev)
		return err
	case ev.Type == binlog.TransactionPayloadEvent:
		l, err := r.p.Payload(ev)
		if err != nil {
			return err
		}
		for {
			inner, err := l.Next()
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = r.event(inner)
			}
			if err != nil {
				return err
			}
		}
	case ev.Type.IsRows():
		return r.rows(ev)
	}
	ev.Body = slices.Clone(ev.Body)
	r.other = append(r.other, ev)
	return nil
}

func (r *logReader) rows(ev binlog.Event) error {
	h, data, err := r.p.RowsHeader(ev)
	if err != nil {
		return err
	}
	if h.Partial {
		r.partial++
	}
	m := r.p.Table(h.TableID)
	if m == nil {
		return fmt.Errorf("no table map %d", h.TableID)
	}
	if strings.HasPrefix(m.DB, "mysql") || m.DB == "sys" {
		return nil
	}
	pl := r.plans[m]
	if pl == nil {
		s, plan, err := binlog.BuildSchema(m, r.catalog(m))
		if err != nil {
			return err
		}
		s.ID = uint32(len(r.all))
		r.all, r.schemas[m.FullName()], r.plans[m], pl = append(r.all, s), s, plan, plan
	}
	if data, err = r.p.Expand(&h, data); err != nil {
		return err
	}
	r.b.Reset()
	r.b.BeginTx(sdk.TxInfo{})
	if _, err := pl.AppendRows(&r.b, h, data, 0, nil); err != nil {
		return err
	}
	r.b.EndTx(1, 1)
	sealed := r.b.Seal(r.all)
	batch, err := sdk.Open(sealed.Bytes(), r.all, sealed.Large()) // checks every offset
	if err != nil {
		return err
	}
	for i := range batch.Rows() {
		row := batch.Row(i)
		c := change{op: row.Op()}
		for _, x := range []struct {
			m   sdk.Image
			out *[]string
		}{{row.Before(), &c.before}, {row.After(), &c.after}} {
			for k := range row.Schema().Columns {
				if x.m.Valid() {
					*x.out = append(*x.out, decoded(&row.Schema().Columns[k], x.m, k))
				}
			}
		}
		r.changes[m.FullName()] = append(r.changes[m.FullName()], c)
	}
	return nil
}

// dir reads all binlog files of a server.
func (r *logReader) dir(t testing.TB, db *testserver.DB) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no binlog files in %s (%v)", db.BinlogDir(), err)
	}
	slices.Sort(files)
	for _, name := range files {
		if err := r.file(name); err != nil {
			t.Fatalf("%s: %v", filepath.Base(name), err)
		}
	}
}

func (r *logReader) file(name string) error {
	f, err := binlog.OpenFile(name, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		raw, _, err := f.Next()
		if err == io.EOF {
			return nil
		}
		var ev binlog.Event
		if err == nil {
			if ev, err = r.p.Parse(raw); err == nil {
				err = r.event(ev)
			}
		}
		if err != nil {
			return err
		}
	}
}

// catalogOf reads a table's definition as a snapshot would.
func catalogOf(t testing.TB, db *testserver.DB) func(*binlog.TableMap) *binlog.CatalogTable {
	conn := db.Conn(t)
	run(t, conn, "SET NAMES utf8mb4")
	return func(m *binlog.TableMap) *binlog.CatalogTable {
		c := &binlog.CatalogTable{DB: m.DB, Table: m.Table}
		for i, r := range query(t, conn, "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, IFNULL(CHARACTER_SET_NAME, ''), COLUMN_KEY "+
			"FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '"+m.DB+"' AND TABLE_NAME = '"+m.Table+"' ORDER BY ORDINAL_POSITION") {
			col := binlog.CatalogColumn{Name: r[0], Native: r[1], Nullable: r[2] == "YES", Charset: r[3]}
			if list, ok := strings.CutSuffix(r[1], "')"); ok {
				_, list, _ = strings.Cut(list, "('")
				for _, l := range strings.Split(list, "','") {
					col.Labels = append(col.Labels, strings.ReplaceAll(l, "''", "'"))
				}
			}
			if r[4] == "PRI" {
				c.Key = append(c.Key, i)
			}
			c.Columns = append(c.Columns, col)
		}
		return c
	}
}

// query returns a statement's rows as text, NULL as "NULL".
func query(t testing.TB, c *client.Conn, sql string) (rows [][]string) {
	t.Helper()
	result, err := c.Execute(sql)
	if err != nil {
		t.Fatalf("%v in: %.300s", err, sql)
	}
	for r := range result.RowNumber() {
		row := make([]string, result.ColumnNumber())
		for k := range row {
			row[k] = null
			if isNull, _ := result.IsNull(r, k); !isNull {
				if row[k], err = result.GetString(r, k); err != nil {
					t.Fatal(err)
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func noCatalog(*binlog.TableMap) *binlog.CatalogTable { return nil }

// run executes statements on one connection.
func run(t testing.TB, c *client.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.Execute(s); err != nil {
			t.Fatalf("%v in: %.300s", err, s)
		}
	}
}

// TestTypes writes every value of the matrix, changes and deletes its row, and
// holds the decoded images against the expected text and the server's SELECT,
// with full and with minimal metadata in the log.
func TestTypes(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		var lines []matrix
		for _, m := range slices.Concat(numbers(), times(), texts(), bytesAndMore(), documents()) {
			if m.flavor == "" || m.flavor == db.Flavor {
				lines = append(lines, m)
			}
		}
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			writeMatrix(t, db, metadata, lines)
		}
		catalog := catalogOf(t, db)
		r := newLogReader(db.Flavor, func(m *binlog.TableMap) *binlog.CatalogTable {
			n, _ := strconv.Atoi(strings.TrimPrefix(m.Table, "t"))
			if m.DB == "FULL" && !lines[n].catalog {
				return nil
			}
			return catalog(m)
		})
		r.dir(t, db)
		for _, metadata := range []string{"FULL", "MINIMAL"} {
			for n := range lines {
				compareLine(t, r, metadata+".t"+itoa(n), &lines[n])
			}
		}
	}, testserver.Args("--max-allowed-packet=64M"))
}

func writeMatrix(t *testing.T, db *testserver.DB, metadata string, lines []matrix) {
	c := db.Conn(t)
	run(t, c, "SET GLOBAL binlog_row_metadata = "+metadata, "CREATE DATABASE "+metadata+" CHARACTER SET utf8mb4", "USE "+metadata,
		"SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'")
	for n, m := range lines {
		table := "t" + itoa(n)
		run(t, c, "CREATE TABLE "+table+" (id INT PRIMARY KEY, v "+m.column+")")
		for i, v := range m.values {
			run(t, c, fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", table, i, v.sql))
		}
		sel := m.sel
		if sel == "" {
			sel = "v"
		}
		rows := query(t, c, "SELECT "+sel+" FROM "+table+" ORDER BY id")
		for i, v := range m.values {
			got := rows[i][0]
			if f, err := strconv.ParseFloat(got, 64); err == nil && sel == asDouble {
				got = strconv.FormatFloat(f, 'g', -1, 64)
			}
			if got != v.want {
				t.Errorf("%s %s: the server prints %.200q, the matrix says %.200q", m.column, short(v.sql), got, v.want)
			}
		}
		run(t, c, "UPDATE "+table+" SET id = id + 100000", "DELETE FROM "+table)
	}
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

// compareLine checks a table's inserts, updates and deletes.
func compareLine(t *testing.T, r *logReader, table string, m *matrix) {
	t.Helper()
	changes, n := r.changes[table], len(m.values)
	if len(changes) != 3*n {
		t.Errorf("%s (%s): %d changes, want %d", table, m.column, len(changes), 3*n)
		return
	}
	s := r.schemas[table]
	if s.Columns[1].Name != "v" || len(s.Key) != 1 || s.Key[0] != 0 || s.Columns[0].Nullable || !s.Columns[1].Nullable && !strings.Contains(m.column, "NOT NULL") {
		t.Errorf("%s (%s): schema %+v", table, m.column, s)
	}
	for _, v := range m.values {
		for _, op := range []sdk.Op{sdk.OpInsert, sdk.OpUpdate, sdk.OpDelete} {
			k := slices.IndexFunc(changes, func(c change) bool {
				id := itoa(slices.Index(valueTexts(m), v.sql))
				return c.op == op && (op == sdk.OpInsert && c.after[0] == id || op == sdk.OpUpdate && c.before[0] == id ||
					op == sdk.OpDelete && c.before[0] == itoa(100000+slices.Index(valueTexts(m), v.sql)))
			})
			if k < 0 {
				t.Errorf("%s (%s) %s: no %c", table, m.column, short(v.sql), op.Letter())
				continue
			}
			for _, image := range [][]string{changes[k].before, changes[k].after} {
				if image != nil && image[1] != v.want {
					t.Errorf("%s (%s) %s %c: decoded %.200q, want %.200q", table, m.column, short(v.sql), op.Letter(), image[1], v.want)
				}
			}
		}
	}
}

func valueTexts(m *matrix) (out []string) {
	for _, v := range m.values {
		out = append(out, v.sql)
	}
	return out
}
