package binlog_test

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

func itoa(n int) string { return strconv.Itoa(n) }

// change is one decoded row as text; nil images are not there.
type change struct {
	op            sdk.Op
	before, after []string
}

// logReader decodes the rows of a server's log.
type logReader struct {
	p       *binlog.Parser
	catalog func(m *binlog.TableMap) *binlog.CatalogTable
	schemas map[string]*sdk.Schema // the last of each table
	types   map[string][]binlog.ColumnType
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
		schemas: map[string]*sdk.Schema{}, types: map[string][]binlog.ColumnType{}, plans: map[*binlog.TableMap]*binlog.RowPlan{}, all: []*sdk.Schema{nil},
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
		s.ID, r.types[m.FullName()] = uint32(len(r.all)), nil
		for i := range m.Columns {
			r.types[m.FullName()] = append(r.types[m.FullName()], m.Columns[i].Type)
		}
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
					*x.out = append(*x.out, cdctest.ServerText(&row.Schema().Columns[k], x.m, k))
				}
			}
		}
		r.changes[m.FullName()] = append(r.changes[m.FullName()], c)
	}
	return nil
}

// logFiles returns the paths of a server's binlog files, in order.
func logFiles(t testing.TB, db *testserver.DB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no binlog files in %s (%v)", db.BinlogDir(), err)
	}
	slices.Sort(files)
	return files
}

// lastFile reads the last binlog file of a server.
func lastFile(t testing.TB, r *logReader, db *testserver.DB) error {
	t.Helper()
	files := logFiles(t, db)
	return r.file(files[len(files)-1])
}

// isPoison reports whether err is the fault of one column's value.
func isPoison(err error, column string) bool {
	f := (*fault.Fault)(nil)
	return errors.As(err, &f) && f.Code == binlog.CodeValue && f.Class == fault.Poison && f.Path == column
}

// dir reads all binlog files of a server.
func (r *logReader) dir(t testing.TB, db *testserver.DB) {
	t.Helper()
	for _, name := range logFiles(t, db) {
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

// query returns a statement's rows as the text that the server sent, NULL as
// "NULL".
func query(t testing.TB, c *client.Conn, sql string) (rows [][]string) {
	t.Helper()
	result, err := c.Execute(sql)
	if err != nil {
		t.Fatalf("%v in: %.300s", err, sql)
	}
	for _, data := range result.RowDatas {
		row := make([]string, result.ColumnNumber())
		for k := range row {
			text, isNull, n, err := mysql.LengthEncodedString(data)
			if err != nil {
				t.Fatal(err)
			}
			if row[k] = string(text); isNull {
				row[k] = cdctest.NullText
			}
			data = data[n:]
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
