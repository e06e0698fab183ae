package formattest

import (
	"testing"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/sdk"
)

// Context is that of the suite's bodies.
func Context() format.Context { return format.Context{Pipeline: "shop", Source: "mysql"} }

// Transaction is where the suite's rows come from; its commit time is
// 2024-05-01T08:00:00.123456Z.
func Transaction(id string) sdk.TxInfo {
	return sdk.TxInfo{ID: []byte(id), File: []byte("binlog.000003"), PosStart: 1534, Time: 1714550400123456, Server: 7}
}

// The suite's transactions: one with a GTID, one without.
const (
	WithGTID    = "3e11fa47-71ca-11e1-9e33-c80aa9429562:23"
	WithoutGTID = "binlog.000003:1534"
)

// Absent in an image says that the log does not tell the column.
const Absent = "\x00absent"

// Null in an image is SQL NULL.
const Null = "\x00null"

// Row is a change. An image has one text for each column, as the server prints
// it, Null or Absent; a nil image is not there.
type Row struct {
	Op            sdk.Op
	Before, After []string
	Ordinal       uint64
}

// Batch makes a batch of one table's rows, in one transaction that is whole or
// has more to come.
func Batch(t testing.TB, s *sdk.Schema, tx sdk.TxInfo, whole bool, rows ...Row) *sdk.Batch {
	t.Helper()
	var b sdk.Builder
	b.Reset()
	b.BeginTx(tx)
	for _, r := range rows {
		var parts sdk.RowFlags
		if r.Before != nil {
			parts |= sdk.RowBefore
		}
		if r.After != nil {
			parts |= sdk.RowAfter
		}
		b.BeginRow(s, r.Op, parts, r.Ordinal)
		// An image moves when the batch grows, so it is asked for again for each value.
		set(t, &b, b.After, s, r.After)
		set(t, &b, b.Before, s, r.Before)
		b.EndRow()
	}
	if whole {
		b.EndTx(1700, 0)
	}
	schemas := make([]*sdk.Schema, s.ID+1)
	schemas[s.ID] = s
	return b.Seal(schemas)
}

func set(t testing.TB, b *sdk.Builder, image func() sdk.Image, s *sdk.Schema, texts []string) {
	t.Helper()
	for i, text := range texts {
		switch text {
		case Absent:
		case Null:
			image().SetNull(i)
		default:
			if err := cdctest.SetText(b, image(), i, &s.Columns[i], text); err != nil {
				t.Fatalf("column %s: %v", s.Columns[i].Name, err)
			}
		}
	}
}

// Message is what a format makes of a row, or of a part of it.
type Message struct{ Body, Key, Headers []byte }

// Messages asks a format for a row's messages, as the pipeline does.
func Messages(f format.Format, r sdk.Row) []Message {
	p, ok := f.(format.Parted)
	if !ok {
		m := Message{Body: f.AppendRow(nil, r, Context())}
		if k, ok := f.(format.Keyer); ok {
			m.Key = k.AppendKey(nil, r)
		}
		return []Message{m}
	}
	var all []Message
	for i := range p.Parts(r) {
		c := Context()
		c.Part = uint32(i)
		all = append(all, Message{p.AppendPart(nil, r, c, i), p.AppendPartKey(nil, r, c, i), p.AppendPartHeaders(nil, r, c, i)})
	}
	return all
}

// Orders is the table of the suite's changes; the email may be NULL.
func Orders() *sdk.Schema {
	return &sdk.Schema{ID: 1, DB: "shop", Table: "orders", Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt, Native: "int"},
		{Name: "email", Type: sdk.TypeString, Native: "varchar(60)", Nullable: true},
		{Name: "total", Type: sdk.TypeDecimal, Scale: 2, Native: "decimal(10,2)"},
		{Name: "placed_at", Type: sdk.TypeDateTime, Scale: 3, Native: "datetime(3)"},
		{Name: "state", Type: sdk.TypeEnum, Labels: []string{"new", "paid"}, Native: "enum('new','paid')"},
	}}
}

// The images of an order.
func (s Suite) order() []string {
	return []string{"7", "a@example.com", "12.50", "2024-05-01 07:59:59.500", "new"}
}

// change is one of the suite's changes, with its name in the golden file.
type change struct {
	name  string
	table *sdk.Schema
	tx    string
	whole bool
	Row
}

// changes are one of each kind.
func (s Suite) changes() []change {
	row, with := s.order(), func(i int, v string, more ...string) []string {
		changed := s.order()
		changed[i] = v
		for j, m := range more {
			changed[i+1+j] = m
		}
		return changed
	}
	keyless := Orders()
	keyless.ID, keyless.Table, keyless.Key = 2, "log entries", nil
	pair := &sdk.Schema{ID: 3, DB: "shop", Table: `or"d,er`, Key: []int{1, 0}, Columns: []sdk.Column{
		{Name: "a", Type: sdk.TypeInt, Native: "smallint"}, {Name: "b ü", Type: sdk.TypeString, Native: "varchar(9)"}}}
	all := []change{
		{"insert", Orders(), WithGTID, true, Row{Op: sdk.OpInsert, After: row}},
		{"insert with NULL", Orders(), WithGTID, true, Row{Op: sdk.OpInsert, After: with(1, Null)}},
		{"update", Orders(), WithGTID, true, Row{Op: sdk.OpUpdate, Before: row, After: with(1, Null, "13.00")}},
		{"update of nothing", Orders(), WithGTID, true, Row{Op: sdk.OpUpdate, Before: row, After: row}},
		{"update of the key", Orders(), WithGTID, true, Row{Op: sdk.OpUpdate, Before: row, After: with(0, "8")}},
		{"delete", Orders(), WithGTID, true, Row{Op: sdk.OpDelete, Before: row}},
		{"read by a snapshot", Orders(), WithGTID, true, Row{Op: sdk.OpRead, After: row}},
		{"truncate", Orders(), WithGTID, true, Row{Op: sdk.OpTruncate}},
		{"in the middle of a transaction without GTID", Orders(), WithoutGTID, false, Row{Op: sdk.OpInsert, After: row, Ordinal: 513}},
		{"update with minimal images", Orders(), WithGTID, true, Row{Op: sdk.OpUpdate, Before: []string{"7", Absent, Absent, Absent, Absent},
			After: []string{Absent, Null, Absent, Absent, "paid"}}},
		{"delete with a minimal image", Orders(), WithGTID, true, Row{Op: sdk.OpDelete, Before: []string{"7", Absent, Absent, Absent, Absent}}},
		{"update without key", keyless, WithGTID, true, Row{Op: sdk.OpUpdate, Before: row, After: with(0, "8")}},
		{"delete without key", keyless, WithGTID, true, Row{Op: sdk.OpDelete, Before: row}},
		{"update of one of two key columns", pair, WithGTID, true, Row{Op: sdk.OpUpdate, Before: []string{"1", "x\n\"ü\xff"}, After: []string{"2", "x\n\"ü\xff"}}},
	}
	return all
}

// Example returns one of the suite's changes by its name in the golden files.
func Example(t testing.TB, name string) sdk.Row {
	t.Helper()
	for _, c := range (Suite{}).changes() {
		if c.name == name {
			return Batch(t, c.table, Transaction(c.tx), c.whole, c.Row).Row(0)
		}
	}
	t.Fatalf("there is no example %q", name)
	return sdk.Row{}
}
