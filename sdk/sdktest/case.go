package sdktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// Case is one golden case.
type Case struct {
	With      json.RawMessage   `json:"with"`       // the connector's configuration
	Secrets   map[string]string `json:"secrets"`    // what the step gives it by name
	InitError string            `json:"init_error"` // part of Init's error; nothing else is tried then
	Tables    []Table           `json:"tables"`
	Schema    []Table           `json:"schema"`       // what the tables become; empty is not looked at
	SchemaErr string            `json:"schema_error"` // part of Schema's error for the first table
	Rows      []Row             `json:"rows"`
	Want      []Row             `json:"want"` // rows that come out
	Dead      []Dead            `json:"dead"` // rows that are refused
}

// Table is a table's definition.
type Table struct {
	Name    string   `json:"name"`    // db.table
	Columns []Column `json:"columns"` // in order
	Key     []string `json:"key,omitempty"`
}

// Column is a column's definition; Type is the name of a sdk.Type.
type Column struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Nullable bool     `json:"nullable,omitempty"`
	Scale    uint8    `json:"scale,omitempty"`
	Labels   []string `json:"labels,omitempty"`
}

// Row is a changed row. In an image a missing column is absent and null is
// NULL; values are JSON numbers, or text in the form of sdk.Image.AppendText.
type Row struct {
	Table   string                     `json:"table"`
	Op      string                     `json:"op"` // insert, update, delete or read
	Before  map[string]json.RawMessage `json:"before,omitempty"`
	After   map[string]json.RawMessage `json:"after,omitempty"`
	Subject string                     `json:"subject,omitempty"`
	Headers string                     `json:"headers,omitempty"` // lines "Name: value\n" that it asks for
}

// Dead is a refused row: its index, and part of the reason.
type Dead struct {
	Row    int    `json:"row"`
	Reason string `json:"reason"`
}

var ops = map[string]sdk.Op{"insert": sdk.OpInsert, "update": sdk.OpUpdate, "delete": sdk.OpDelete, "read": sdk.OpRead}

func opName(op sdk.Op) string {
	for name, o := range ops {
		if o == op {
			return name
		}
	}
	return "?"
}

// readCase reads a case; unknown keys are misspellings.
func readCase(path string) (*Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	c := &Case{With: json.RawMessage("{}")}
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// schemas returns the case's tables, indexed by id.
func (c *Case) schemas() ([]*sdk.Schema, error) {
	list := []*sdk.Schema{nil}
	for i, t := range c.Tables {
		db, table, ok := strings.Cut(t.Name, ".")
		if !ok {
			return nil, fmt.Errorf("table %q is not db.table", t.Name)
		}
		s := &sdk.Schema{ID: uint32(i + 1), DB: db, Table: table}
		for _, col := range t.Columns {
			typ := sdk.TypeInvalid
			for k := sdk.Type(1); k.Valid(); k++ {
				if k.String() == col.Type {
					typ = k
				}
			}
			if typ == sdk.TypeInvalid {
				return nil, fmt.Errorf("column %s has the unknown type %q", col.Name, col.Type)
			}
			s.Columns = append(s.Columns, sdk.Column{Name: col.Name, Type: typ, Nullable: col.Nullable, Scale: col.Scale, Labels: col.Labels})
		}
		for _, k := range t.Key {
			s.Key = append(s.Key, s.Column(k))
		}
		list = append(list, s)
	}
	return list, nil
}

// tableOf is the inverse of schemas for one table.
func tableOf(s *sdk.Schema) Table {
	t := Table{Name: s.FullName()}
	for _, c := range s.Columns {
		t.Columns = append(t.Columns, Column{Name: c.Name, Type: c.Type.String(), Nullable: c.Nullable, Scale: c.Scale, Labels: c.Labels})
	}
	for _, k := range s.Key {
		t.Key = append(t.Key, s.Columns[k].Name)
	}
	return t
}

// batch builds the case's rows as one transaction.
func (c *Case) batch(schemas []*sdk.Schema) (*sdk.Batch, error) {
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("case:1"), File: []byte("case"), PosStart: 4, Time: 1_700_000_000_000_000})
	for i, r := range c.Rows {
		var s *sdk.Schema
		for _, known := range schemas[1:] {
			if known.FullName() == r.Table {
				s = known
			}
		}
		if s == nil || ops[r.Op] == 0 {
			return nil, fmt.Errorf("row %d: unknown table %q or op %q", i, r.Table, r.Op)
		}
		parts := sdk.RowFlags(0)
		if r.Before != nil {
			parts |= sdk.RowBefore
		}
		if r.After != nil {
			parts |= sdk.RowAfter
		}
		b.BeginRow(s, ops[r.Op], parts, uint64(i))
		for _, side := range []struct {
			m      sdk.Image
			values map[string]json.RawMessage
		}{{b.After(), r.After}, {b.Before(), r.Before}} {
			for name, v := range side.values {
				k := s.Column(name)
				if k < 0 {
					return nil, fmt.Errorf("row %d: unknown column %q", i, name)
				}
				if err := set(b, side.m, &s.Columns[k], k, v); err != nil {
					return nil, fmt.Errorf("row %d: %s: %w", i, name, err)
				}
			}
		}
		b.EndRow()
	}
	b.EndTx(100, 0)
	batch := b.Seal(schemas)
	batch.SetSeq(1)
	return batch, batch.Check()
}

// set gives one column its value.
func set(b *sdk.Builder, m sdk.Image, col *sdk.Column, c int, v json.RawMessage) error {
	text := string(v)
	if text == "null" {
		m.SetNull(c)
		return nil
	}
	if v[0] == '"' {
		if err := json.Unmarshal(v, &text); err != nil {
			return err
		}
	}
	if !col.Type.Inline() {
		if n, ok := strings.CutPrefix(text, "large:"); ok {
			size, err := strconv.Atoi(n)
			text = strings.Repeat("x", size)
			if err != nil {
				return err
			}
		}
		b.SetBytes(m, c, []byte(text))
		return nil
	}
	slot, err := slotOf(col.Type, text)
	m.SetSlot(c, slot)
	return err
}

func slotOf(typ sdk.Type, text string) (uint64, error) {
	switch typ {
	case sdk.TypeInt, sdk.TypeTime:
		n, err := strconv.ParseInt(text, 10, 64)
		return uint64(n), err
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear:
		return strconv.ParseUint(text, 10, 64)
	case sdk.TypeFloat32, sdk.TypeFloat64:
		f, err := strconv.ParseFloat(text, 64)
		return math.Float64bits(f), err
	case sdk.TypeDate:
		var y, m, d int
		_, err := fmt.Sscanf(text, "%d-%d-%d", &y, &m, &d)
		return sdk.PackDate(y, m, d), err
	case sdk.TypeDateTime:
		t, err := time.Parse("2006-01-02 15:04:05.999999", text)
		return sdk.PackDateTime(sdk.Civil{Year: t.Year(), Month: int(t.Month()), Day: t.Day(),
			Hour: t.Hour(), Minute: t.Minute(), Second: t.Second(), Micro: t.Nanosecond() / 1000}), err
	case sdk.TypeTimestamp:
		t, err := time.Parse(time.RFC3339Nano, text)
		return uint64(t.UnixMicro()), err
	}
	return 0, fmt.Errorf("no text form for %v", typ)
}

// render is the inverse of batch for one row. Numbers come out as JSON numbers,
// everything else as text.
func render(r sdk.Row) Row {
	s := r.Schema()
	subject, _, headers := r.Dest()
	out := Row{Table: s.FullName(), Op: opName(r.Op()), Subject: string(subject), Headers: string(headers)}
	image := func(m sdk.Image) map[string]json.RawMessage {
		if !m.Valid() {
			return nil
		}
		values := map[string]json.RawMessage{}
		for c := range s.Columns {
			col := &s.Columns[c]
			switch {
			case m.IsAbsent(c):
			case m.IsNull(c):
				values[col.Name] = json.RawMessage("null")
			case col.Type == sdk.TypeInt || col.Type == sdk.TypeUint || col.Type == sdk.TypeFloat64 || col.Type == sdk.TypeFloat32:
				values[col.Name] = m.AppendText(nil, col, c)
			default:
				text := string(m.AppendText(nil, col, c))
				if len(text) > 1<<10 {
					text = "large:" + strconv.Itoa(len(text))
				}
				values[col.Name], _ = json.Marshal(text)
			}
		}
		return values
	}
	out.After, out.Before = image(r.After()), image(r.Before())
	return out
}
