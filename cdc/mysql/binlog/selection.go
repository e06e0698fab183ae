package binlog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Selection decodes rows of a SELECT, as the binary protocol has them, into the
// very bytes that the log's rows give. It is used by one goroutine.
//
// The session that selects has character_set_results NULL, so that text comes in
// its column's own character set; time_zone '+00:00'; and a sql_mode without
// PAD_CHAR_TO_FULL_LENGTH. Source: MySQL's protocol, "Binary Protocol Resultset
// Row".
type Selection struct {
	plan    *RowPlan
	columns []selected
	absent  []int // the schema's columns that are not selected
	nulls   []byte
	row     []byte
	whole   bool // the row has no NULL
}

// selected is one column of the SELECT.
type selected struct {
	column *column
	number int // of the schema
	typ    sdk.Type
	way    way
	wire   int // bytes of the value, or one of the forms below
	at, n  int // where the value of the present row is
}

// way is how a value is decoded, where that is told from its column once.
type way uint8

const (
	wayOther  way = iota
	wayNumber     // as in the log's rows
	wayText       // copied, where it is UTF-8 already
)

// The forms of a value that has no fixed length.
const (
	wireText  = 0  // behind its packed length
	wireParts = -1 // a date or time, behind a byte with its length
	// A number that the server computes, of as many bytes as it takes for enough:
	// Numbers tells.
	wireNumber = -2
)

// NewSelection prepares the reading of the given columns, by their numbers in
// the plan's schema. The SELECT must have Expression's text for each.
func NewSelection(pl *RowPlan, columns []int) *Selection {
	s := &Selection{plan: pl}
	for _, i := range columns {
		s.columns = append(s.columns, selected{column: &pl.columns[i], number: i, typ: pl.schema.Columns[i].Type,
			way: wayOf(pl.schema.Columns[i].Type), wire: wireOf(pl, i)})
	}
	for i := range pl.schema.Columns {
		if !slices.Contains(columns, i) {
			s.absent = append(s.absent, i)
		}
	}
	return s
}

func wayOf(t sdk.Type) way {
	switch t {
	case sdk.TypeInt, sdk.TypeUint, sdk.TypeFloat32, sdk.TypeFloat64:
		return wayNumber
	case sdk.TypeString:
		return wayText
	}
	return wayOther
}

// wireOf returns the form of a column's value in the protocol.
func wireOf(pl *RowPlan, i int) int {
	switch pl.schema.Columns[i].Type {
	case sdk.TypeInt, sdk.TypeUint:
		if size := pl.columns[i].size; size != 3 {
			return size
		}
		return 4 // MEDIUMINT
	case sdk.TypeFloat32:
		return 4
	case sdk.TypeFloat64:
		return 8
	case sdk.TypeEnum, sdk.TypeSet:
		return wireNumber
	case sdk.TypeYear:
		return 2
	case sdk.TypeDate, sdk.TypeTime, sdk.TypeDateTime, sdk.TypeTimestamp:
		return wireParts
	}
	return wireText
}

// Numbers takes over how wide the numbers of ENUM and SET come, by the types that
// the protocol gives the result's columns. False says that the types are not those
// of the columns that were planned.
func (s *Selection) Numbers(types []byte) bool {
	if len(types) != len(s.columns) {
		return false
	}
	for i, t := range types {
		col, size := &s.columns[i], 0
		switch ColumnType(t) {
		case ColTiny:
			size = 1
		case ColShort, ColYear:
			size = 2
		case ColLong, ColInt24, ColFloat:
			size = 4
		case ColLongLong, ColDouble:
			size = 8
		case ColDate, ColNewDate, ColTime, ColDateTime, ColTimestamp:
			size = wireParts
		}
		if col.typ == sdk.TypeEnum || col.typ == sdk.TypeSet {
			if size <= 0 {
				return false
			}
			col.wire = size
		}
		if col.wire != size {
			return false
		}
	}
	return true
}

// Expression returns what to select for a column of the schema: the name, which
// must be quoted, or, of ENUM and SET, their number.
func (pl *RowPlan) Expression(column int, name string) string {
	switch pl.schema.Columns[column].Type {
	case sdk.TypeEnum, sdk.TypeSet:
		return "CAST(" + name + " AS UNSIGNED)"
	}
	return name
}

// Parse splits a row: the map of NULLs, whose first two bits are not used, and
// the values. The Selection keeps a view of it. Fault: snapshot_result_corrupt.
func (s *Selection) Parse(row []byte) error {
	at := (len(s.columns) + 9) / 8
	if at > len(row) {
		return s.corrupt(row)
	}
	s.row, s.nulls, s.whole = row, row[:at], true
	for _, b := range s.nulls {
		s.whole = s.whole && b == 0
	}
	for i := range s.columns {
		col := &s.columns[i]
		n := col.wire
		switch {
		case !s.whole && s.null(i):
			continue
		case n > 0:
		case n == wireText && at < len(row) && row[at] < 0xfb: // nearly all: a length of one byte
			n = int(row[at])
			at++
		case n == wireText || n == wireParts:
			c := cursor{p: row[at:]}
			if n == wireText {
				n = c.count(1)
			} else {
				n = int(c.u8())
			}
			if at = len(row) - len(c.p); c.bad {
				return s.corrupt(row)
			}
		}
		if n < 0 || n > len(row)-at {
			return s.corrupt(row)
		}
		col.at, col.n = at, n
		at += n
	}
	if at != len(row) {
		return s.corrupt(row)
	}
	return nil
}

func (s *Selection) corrupt(row []byte) error {
	return fault.New(fault.Fatal, CodeResult, s.plan.table, "look at what stands between cdcd and the server, such as a proxy",
		"a row of %d bytes does not fit the %d columns of the result", len(row), len(s.columns))
}

func (s *Selection) null(i int) bool { return !s.whole && s.nulls[(i+2)/8]>>((i+2)%8)&1 != 0 }

// Text returns the bytes that the present row has at place i of the SELECT, as
// they came but for the zeros of ZEROFILL: a view. Fault: value_undecodable for
// NULL.
func (s *Selection) Text(i int) ([]byte, error) {
	col := &s.columns[i]
	if s.null(i) {
		return nil, s.fault(i, errNull)
	}
	v := s.row[col.at : col.at+col.n : col.at+col.n]
	if col.typ == sdk.TypeDecimal {
		v = trimDecimal(v)
	}
	return v, nil
}

// Number returns the number that the present row has at place i: the slot of an
// inline type, and what ENUM and SET are to the server. Fault: value_undecodable.
func (s *Selection) Number(i int) (v uint64, err error) {
	col := &s.columns[i]
	if s.null(i) {
		return 0, s.fault(i, errNull)
	}
	raw := s.row[col.at : col.at+col.n]
	if !col.typ.Inline() { // ENUM and SET
		return littleEndian(raw), nil
	}
	if v, err = col.inline(raw); err != nil {
		return 0, s.fault(i, err)
	}
	return v, nil
}

var errNull = errors.New("NULL where none can be")

func (s *Selection) fault(i int, err error) error {
	return fault.New(fault.Poison, CodeValue, s.plan.table+"."+s.plan.schema.Columns[s.columns[i].number].Name,
		"correct the value at the source, or leave the table out", "%w", err)
}

// Append adds the present row to the transaction that is open in b, with all
// columns that are not selected absent. Fault: value_undecodable, of class Poison,
// with the column as its path; the builder is in the middle of a row then.
func (s *Selection) Append(b *sdk.Builder, op sdk.Op, ordinal uint64) error {
	b.BeginWholeRow(s.plan.schema, op, sdk.RowAfter, ordinal)
	m := b.After()
	for _, c := range s.absent {
		m.SetAbsent(c)
	}
	for i := range s.columns {
		col := &s.columns[i]
		if s.null(i) {
			m.SetNull(col.number)
			continue
		}
		v := s.row[col.at : col.at+col.n]
		var slot uint64
		var err error
		switch {
		case col.way == wayText && col.column.text.plain(v):
			m.InitSlot(col.number, b.Value(v))
			continue
		case col.way == wayNumber:
			slot, _, err = col.column.inline(v)
		case col.typ.Inline():
			slot, err = col.inline(v)
		default:
			if err = col.heap(b, m, v); err == nil {
				continue
			}
		}
		if err != nil {
			return s.fault(i, err)
		}
		m.InitSlot(col.number, slot)
	}
	b.EndRow()
	return nil
}

// inline decodes a value that lives in its slot.
func (c *selected) inline(v []byte) (slot uint64, err error) {
	switch c.typ {
	case sdk.TypeYear:
		return uint64(le.Uint16(v)), nil
	case sdk.TypeBit:
		if len(v) > 8 {
			return 0, errForm
		}
		return bigEndian(v), nil
	case sdk.TypeTime:
		return clockParts(v)
	case sdk.TypeDate, sdk.TypeDateTime, sdk.TypeTimestamp:
		return c.dateParts(v)
	}
	slot, _, err = c.column.inline(v)
	return slot, err
}

// dateParts reads year, month, day and, where they are not zero, hour, minute,
// second and microseconds.
func (c *selected) dateParts(v []byte) (uint64, error) {
	var t sdk.Civil
	switch len(v) {
	case 11:
		t.Micro = int(le.Uint32(v[7:]))
		fallthrough
	case 7:
		t.Hour, t.Minute, t.Second = int(v[4]), int(v[5]), int(v[6])
		fallthrough
	case 4:
		t.Year, t.Month, t.Day = int(le.Uint16(v)), int(v[2]), int(v[3])
	case 0:
		return 0, nil
	default:
		return 0, errForm
	}
	switch {
	case t.Month > 12 || t.Day > 31 || t.Hour > 23 || t.Minute > 59 || t.Second > 59 || t.Micro > 999999:
		return 0, errForm
	case c.typ == sdk.TypeDate:
		return sdk.PackDate(t.Year, t.Month, t.Day), nil
	case c.typ == sdk.TypeDateTime || t == sdk.Civil{}:
		return sdk.PackDateTime(t), nil
	}
	return uint64(time.Date(t.Year, time.Month(t.Month), t.Day, t.Hour, t.Minute, t.Second, t.Micro*1000, time.UTC).UnixMicro()), nil
}

// clockParts reads sign, days, hours, minutes, seconds and microseconds.
func clockParts(v []byte) (uint64, error) {
	us := int64(0)
	switch len(v) {
	case 12:
		us = int64(le.Uint32(v[8:]))
		fallthrough
	case 8:
		us += (((int64(le.Uint32(v[1:]))*24+int64(v[5]))*60+int64(v[6]))*60 + int64(v[7])) * 1e6
	case 0:
		return 0, nil
	default:
		return 0, errForm
	}
	if v[0] != 0 {
		us = -us
	}
	return uint64(us), nil
}

// heap decodes a value into the builder's heap.
func (c *selected) heap(b *sdk.Builder, m sdk.Image, v []byte) error {
	switch c.typ {
	case sdk.TypeDecimal:
		b.SetBytes(m, c.number, trimDecimal(v))
	case sdk.TypeEnum, sdk.TypeSet:
		return c.column.setLabel(b, m, c.number, littleEndian(v))
	case sdk.TypeString:
		return c.column.setText(b, m, c.number, v)
	case sdk.TypeBytes:
		if c.column.kind == kindBytes {
			return c.column.setBytes(b, m, c.number, v)
		}
		b.SetBytes(m, c.number, v)
	default: // texts of the server's own making, and bytes without padding
		b.SetBytes(m, c.number, v)
	}
	return nil
}

// littleEndian reads a number of up to eight bytes.
func littleEndian(p []byte) (v uint64) {
	for i, b := range p {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// trimDecimal removes the zeros with which ZEROFILL fills a DECIMAL.
func trimDecimal(v []byte) []byte {
	for len(v) > 1 && v[0] == '0' && v[1] != '.' {
		v = v[1:]
	}
	return v
}

// ErrDefinition is wrapped by Described's errors.
var ErrDefinition = errors.New("the definition can't be read")

// Described makes the table map that the server's log has for a table, of what
// its catalog says: what BuildSchema needs to read the table itself. full says
// that the log is one with binlog_row_metadata=FULL. Columns that the log
// describes more closely than the catalog are as near as their values need.
func Described(c *CatalogTable, maria, full bool) (*TableMap, error) {
	t := &TableMap{DB: c.DB, Table: c.Table, Columns: make([]ColumnMap, len(c.Columns)), Key: c.Key, names: full}
	for i := range c.Columns {
		if err := t.Columns[i].describe(&c.Columns[i], maria, full); err != nil {
			return nil, fmt.Errorf("%w: %s.%s: %w", ErrDefinition, t.FullName(), c.Columns[i].Name, err)
		}
	}
	return t, nil
}
