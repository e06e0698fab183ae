package binlog

import (
	"errors"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// everyKind is a table with a column of each form that a result has.
func everyKind(t testing.TB) *RowPlan {
	t.Helper()
	c := &CatalogTable{DB: "d", Table: "t"}
	for _, native := range []string{"tinyint", "smallint unsigned", "mediumint", "int", "bigint unsigned", "float", "double", "year", "bit(13)",
		"date", "time(3)", "datetime(6)", "timestamp", "decimal(10,2)", "binary(4)", "blob", "json", "point"} {
		c.Columns = append(c.Columns, CatalogColumn{Name: native, Native: native, Nullable: true})
	}
	c.Columns = append(c.Columns, CatalogColumn{Name: "e", Native: "enum('a','b')", Labels: []string{"a", "b"}},
		CatalogColumn{Name: "s", Native: "set('a','b')", Labels: []string{"a", "b"}},
		CatalogColumn{Name: "l", Native: "varchar(20)", Charset: "latin1"}, CatalogColumn{Name: "j", Native: "text", Charset: "sjis"},
		CatalogColumn{Name: "w", Native: "char(2)", Charset: "utf16"})
	m, err := Described(c, false, true)
	if err != nil {
		t.Fatal(err)
	}
	_, plan, err := BuildSchema(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func selectAll(t testing.TB) (*Selection, []byte) {
	t.Helper()
	plan := everyKind(t)
	columns := make([]int, len(plan.columns))
	types := make([]byte, len(columns))
	for i := range columns {
		columns[i] = i
		types[i] = byte(ColVarString)
	}
	copy(types, []byte{byte(ColTiny), byte(ColShort), byte(ColInt24), byte(ColLong), byte(ColLongLong), byte(ColFloat), byte(ColDouble), byte(ColYear),
		byte(ColBit), byte(ColDate), byte(ColTime), byte(ColDateTime), byte(ColTimestamp)})
	types[18], types[19] = byte(ColLong), byte(ColLongLong)
	s := NewSelection(plan, columns)
	if !s.Numbers(types) {
		t.Fatal("the types are not taken")
	}
	return s, types
}

// rowOf makes a row of the protocol without NULLs.
func rowOf(s *Selection, values ...string) []byte {
	row := make([]byte, (len(s.columns)+9)/8)
	for i, v := range values {
		if w := s.columns[i].wire; w == wireText || w == wireParts {
			row = append(row, byte(len(v)))
		}
		row = append(row, v...)
	}
	return row
}

func goodRow(s *Selection) []byte {
	return rowOf(s, "\xff", "\xff\xff", "\xff\xff\xff\xff", "\x01\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\xc0\x3f", "\x00\x00\x00\x00\x00\x00\xf8\x3f", "\xea\x07",
		"\x1f\xff", "\xea\x07\x0b\x15", "\x01\x22\x00\x00\x00\x16\x3b\x3b", "\xea\x07\x0b\x15\x0a\x0b\x0c\x01\x00\x00\x00", "\xea\x07\x0b\x15\x0a\x0b\x0c",
		"0012.30", "ab", "", `{"a": 1}`, "", "\x02\x00\x00\x00", "\x03\x00\x00\x00\x00\x00\x00\x00", "\xfc", "\x83\x5c", "\x00a")
}

func TestSelection(t *testing.T) {
	s, types := selectAll(t)
	build := func(row []byte) (string, error) {
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		if err := s.Parse(row); err != nil {
			return "", err
		}
		if err := s.Append(&b, sdk.OpRead, 7); err != nil {
			return "", err
		}
		text := ""
		for i := range s.columns {
			text += string(b.After().AppendText(nil, &s.plan.schema.Columns[i], i)) + "|"
		}
		return text, nil
	}
	text, err := build(goodRow(s))
	want := "-1|65535|-1|1|18446744073709551615|1.5|1.5|2026|8191|2026-11-21|-838:59:59.000|2026-11-21 10:11:12.000001|2026-11-21T10:11:12Z|12.30|ab\x00\x00||{\"a\": 1}||b|a,b|ü|ソ|a|"
	if err != nil || text != want {
		t.Errorf("%q, %v\nwant %q", text, err, want)
	}
	if err := s.Parse(goodRow(s)[:40]); !fault.HasCode(err, CodeResult) {
		t.Errorf("a short row: %v", err)
	}
	if err := s.Parse(append(goodRow(s), 0)); !fault.HasCode(err, CodeResult) {
		t.Errorf("a long row: %v", err)
	}
	bad := func(column int, value string) {
		t.Helper()
		values := make([]string, len(s.columns))
		for i := range values {
			values[i] = string(make([]byte, max(0, s.columns[i].wire)))
		}
		values[column] = value
		_, err := build(rowOf(s, values...))
		if f := fault.Of(err); f.Code != CodeValue || f.Class != fault.Poison || f.Path != "d.t."+s.plan.schema.Columns[column].Name {
			t.Errorf("%q: %v", value, err)
		}
	}
	bad(8, "123456789")
	bad(9, "abc")
	bad(9, "\xea\x07\x0d\x01")
	bad(10, "\x00\x00")
	bad(11, "\xea\x07\x0b\x15\x18\x0b\x0c")
	bad(18, "\x03\x00\x00\x00")
	bad(19, "\x04\x00\x00\x00\x00\x00\x00\x00")
	bad(20+1, "\x80")
	bad(20+2, "\xd8\x00")
	for i := range types {
		other := append([]byte(nil), types...)
		other[i] = byte(ColTiny)
		if ok := s.Numbers(other); ok != (i == 0 || i == 18 || i == 19) {
			t.Errorf("column %d as TINY: %v", i, ok)
		}
	}
	if s.Numbers(types[1:]) {
		t.Error("a column is missing")
	}
}

func TestDescribedUnknown(t *testing.T) {
	for _, c := range []CatalogColumn{{Name: "x", Native: "hypercube"}, {Name: "x", Native: "enum('a')"}} {
		if _, err := Described(&CatalogTable{DB: "d", Table: "t", Columns: []CatalogColumn{c}}, false, true); !errors.Is(err, ErrDefinition) {
			t.Errorf("%s: %v", c.Native, err)
		}
	}
}

// FuzzSelection: any bytes are a row, or refused.
func FuzzSelection(f *testing.F) {
	s, _ := selectAll(f)
	f.Add(goodRow(s))
	f.Add(rowOf(s, "\xff"))
	s.plan.schema.ID = 1
	f.Fuzz(func(t *testing.T, row []byte) {
		if s.Parse(row) != nil {
			return
		}
		for i := range s.columns {
			_, _ = s.Text(i)
			if s.columns[i].typ.Inline() || s.columns[i].wire > 0 {
				_, _ = s.Number(i)
			}
		}
		var b sdk.Builder
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		if s.Append(&b, sdk.OpRead, 0) != nil {
			return
		}
		b.EndTx(0, 0)
		if err := b.Seal([]*sdk.Schema{nil, s.plan.schema}).Check(); err != nil {
			t.Error(err)
		}
	})
}
