package scan

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/schema"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// TableOptions say what of a table to read, and how.
type TableOptions struct {
	// Where is a predicate in the server's SQL; rows for which it is not true are
	// left out. "" for all.
	Where string
	// Columns names what to read, beside the columns of the key; empty for all.
	// The others are absent from the rows.
	Columns []string
	// Schema is the definition as the log told it, if that is known: labels beyond
	// the reach of the server's catalog are taken from it.
	Schema *sdk.Schema
	// UnkeyedRowsMax is how many rows a table without a usable key may have, which is
	// read as one chunk; 10,000 by default, and none if negative.
	UnkeyedRowsMax int
}

// unkeyedRows is the default of TableOptions.UnkeyedRowsMax.
const unkeyedRows = 10_000

// Table is a table as it is going to be read. Several connections may read it at
// a time.
type Table struct {
	Name tables.Name
	// Schema is that of the rows, as the log's rows have it; its ID is the caller's
	// to set before the first row is read.
	Schema *sdk.Schema
	// KeyColumns are the columns of the schema in whose order the table is read;
	// empty for a table that is one chunk.
	KeyColumns []int
	KeyName    string
	// RowsEstimate and BytesEstimate are the server's guess of all the table's rows.
	RowsEstimate, BytesEstimate uint64

	where         string
	key           []keyColumn
	print         string
	stem          []byte // what its keys begin with
	list, keyList string // of the SELECT, and of one of the key alone, in its order
	columns       []int  // of the SELECT
	plan          *binlog.RowPlan
	unkeyedMax    int
	// The columns of the first result, of each of the two.
	fields, keyFields atomic.Pointer[[]replica.Field]
}

// keyColumn is one column of the key.
type keyColumn struct {
	name, native, charset, collation string

	column int // of the schema
	at     int // its place in the SELECT
	typ    sdk.Type
	kind   byte // of a key's part
	desc   bool
	labels []string // of an ENUM that is the key's first column
}

// Print identifies the key that the table is read by: keys of another are of no
// use. It is empty without a key.
func (t *Table) Print() string { return t.print }

// FullName returns "db.table".
func (t *Table) FullName() string { return t.Name.DB + "." + t.Name.Table }

// Plan reads a table's definition and settles how it is read: in the order of its
// primary key, or of the cheapest unique key without NULLs, or, where it has
// neither, as one chunk. Faults: snapshot_no_table, snapshot_engine,
// snapshot_no_key, snapshot_columns, snapshot_where, snapshot_table_changed,
// snapshot_denied, and those of binlog.BuildSchema.
func (c *Conn) Plan(ctx context.Context, n tables.Name, o TableOptions) (*Table, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	t := &Table{Name: n, where: strings.TrimSpace(o.Where), unkeyedMax: o.UnkeyedRowsMax}
	if t.unkeyedMax == 0 {
		t.unkeyedMax = unkeyedRows
	}
	if !contained(t.where) {
		return nil, fault.New(fault.Config, CodeWhere, t.FullName(), "correct the predicate: it stands behind WHERE, in parentheses, in the server's SQL",
			"where: %q leaves a parenthesis, a quoted text or a comment open, or closes one too many", t.where)
	}
	if err := c.estimate(ctx, t); err != nil {
		return nil, err
	}
	def, err := definition.Read(ctx, c.c, n)
	if err != nil {
		return nil, c.sqlFault(t, err)
	}
	if def == nil {
		return nil, t.missing()
	}
	if t.plan, err = c.schema(t, def, o.Schema); err != nil {
		return nil, err
	}
	if t.columns, err = t.choose(o.Columns); err != nil {
		return nil, err
	}
	if err := c.chooseKey(ctx, t, t.columns); err != nil {
		return nil, err
	}
	t.list, t.keyList = t.selectList(t.columns), t.selectList(t.KeyColumns)
	if err := c.check(ctx, t); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Table) missing() error {
	return fault.New(fault.Fatal, CodeNoTable, t.FullName(), "leave the table out, name one that is there, or GRANT SELECT on it",
		"no such table, or it is hidden from the account")
}

// estimate asks for the table's kind and size.
func (c *Conn) estimate(ctx context.Context, t *Table) error {
	rows, err := c.query(ctx, t, "SELECT TABLE_TYPE, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH, 0) "+
		"FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+replica.Quote(t.Name.DB)+" AND TABLE_NAME = "+replica.Quote(t.Name.Table))
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return t.missing()
	}
	kind, engine := rows[0][0], rows[0][1]
	if kind == "SYSTEM VERSIONED" { // MariaDB
		return fault.New(fault.Fatal, CodeEngine, t.FullName(), "leave the table out of the snapshot",
			"the log has columns of a system-versioned table that no catalog names")
	}
	if kind != "BASE TABLE" || !strings.EqualFold(engine, "InnoDB") {
		return fault.New(fault.Fatal, CodeEngine, t.FullName(), "ALTER TABLE "+t.FullName()+" ENGINE=InnoDB, or leave the table out",
			"a %s of engine %q shows no state that has a place in the log", strings.ToLower(kind), engine)
	}
	// What the server estimates is at times not a number at all.
	t.RowsEstimate, _ = strconv.ParseUint(rows[0][2], 10, 64)
	t.BytesEstimate, _ = strconv.ParseUint(rows[0][3], 10, 64)
	return nil
}

// schema builds the schema that the log has of the table.
func (c *Conn) schema(t *Table, def *schema.Table, known *sdk.Schema) (*binlog.RowPlan, error) {
	cat := &binlog.CatalogTable{DB: def.DB, Table: def.Name, Columns: make([]binlog.CatalogColumn, len(def.Columns))}
	for i, col := range def.Columns {
		cat.Columns[i] = binlog.CatalogColumn{Name: col.Name, Native: col.Native, Nullable: !col.NotNull, Charset: col.Charset, Labels: col.Labels}
		if known != nil && i < len(known.Columns) && known.Columns[i].Name == col.Name && len(known.Columns[i].Labels) > 0 {
			cat.Columns[i].Labels, cat.Columns[i].Native = known.Columns[i].Labels, known.Columns[i].Native
		}
	}
	cat.Key = def.Key(nil)
	maria := c.flavor == gtid.MariaDB
	m, err := binlog.Described(cat, maria, c.full)
	if err != nil {
		return nil, fault.New(fault.Fatal, binlog.CodeSchemaIncomplete, t.FullName(),
			"leave the table out, or its labels of characters beyond U+FFFF, which the server's catalog does not keep", "%w", err)
	}
	if c.full && !maria {
		cat = nil // there the log's own names of types count
	}
	s, plan, err := binlog.BuildSchema(m, cat)
	if err != nil {
		return nil, err
	}
	t.Schema = s
	if known != nil && known.Fingerprint() != s.Fingerprint() {
		return nil, changed(t.FullName(), fmt.Errorf("the server's catalog describes %+v, the log %+v", s.Columns, known.Columns))
	}
	return plan, nil
}

// choose resolves the list of columns, in the schema's order, those of its key
// included.
func (t *Table) choose(list []string) ([]int, error) {
	want := make([]bool, len(t.Schema.Columns))
	for i := range want {
		want[i] = len(list) == 0
	}
	for _, k := range t.Schema.Key {
		want[k] = true
	}
	for _, name := range list {
		i := slices.IndexFunc(t.Schema.Columns, func(col sdk.Column) bool { return strings.EqualFold(col.Name, name) })
		if i < 0 {
			return nil, fault.New(fault.Config, CodeColumns, t.FullName(), "correct the list of columns", "the table has no column %q", name)
		}
		want[i] = true
	}
	var out []int
	for i, w := range want {
		if w {
			out = append(out, i)
		}
	}
	return out, nil
}

func (t *Table) selectList(columns []int) string {
	list := make([]string, len(columns))
	for at, i := range columns {
		list[at] = t.plan.Expression(i, definition.QuoteName(t.Schema.Columns[i].Name))
	}
	return strings.Join(list, ", ")
}

// quoted is the table's name in a statement.
func (t *Table) quoted() string {
	return definition.QuoteName(t.Name.DB) + "." + definition.QuoteName(t.Name.Table)
}

// check has the server read the statement, without running it.
func (c *Conn) check(ctx context.Context, t *Table) error {
	sql := t.statement(span{}, 1)
	if _, err := c.query(ctx, t, c.explain()+sql); err != nil {
		if code := replica.Code(err); t.where != "" && code != 0 && code != errTableDenied && code != errColumnDenied {
			return fault.New(fault.Config, CodeWhere, t.FullName(), "correct the predicate: it stands behind WHERE, in the server's SQL",
				"the server refuses where: %q: %w", t.where, err)
		}
		return err
	}
	return nil
}

// explain begins a statement that tells how another would be run, as a table.
func (c *Conn) explain() string {
	if c.flavor == gtid.MariaDB {
		return "EXPLAIN "
	}
	return "EXPLAIN FORMAT=TRADITIONAL "
}
