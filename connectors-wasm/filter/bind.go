package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// operand gives a value of a row.
type operand struct {
	constant value
	column   int // -1 for a constant, opColumn for the operation
	def      *sdk.Column
}

const (
	noColumn = -1
	opColumn = -2
)

// bind turns an expression into a test for one table's rows.
func bind(n *node, s *sdk.Schema) (test, error) {
	switch n.op {
	case "and", "or":
		all := make([]test, len(n.args))
		for i, a := range n.args {
			var err error
			if all[i], err = bind(a, s); err != nil {
				return nil, err
			}
		}
		if n.op == "and" {
			return allOf(all), nil
		}
		return anyOf(all), nil
	case "not":
		t, err := bind(n.args[0], s)
		return negated{t}, err
	case "literal":
		switch n.lit.kind {
		case word:
			return constantTest(truth(n.lit.text == "true")), nil
		case end:
			return constantTest(unknown), nil
		}
		return nil, fail(n.pos, "a condition is expected, not a constant")
	case "column", "op":
		return nil, fail(n.pos, "a condition is expected: compare the column with something, as in %s = 1", n.label())
	case "null":
		x, err := bindOperand(n.args[0], s)
		return nullTest{x, n.not}, err
	case "in":
		return bindIn(n, s)
	case "like":
		x, err := bindOperand(n.args[0], s)
		if err == nil && !x.isText() {
			return nil, fail(n.pos, "LIKE needs a column of text; %s is none", n.args[0].label())
		}
		return likeTest{x, []byte(n.args[1].lit.text), n.not}, err
	}
	return bindCompare(n, s)
}

func (n *node) label() string {
	switch n.op {
	case "op":
		return "op"
	case "column":
		return n.name
	case "literal":
		return "the constant " + n.lit.text
	}
	return "the condition"
}

func bindOperand(n *node, s *sdk.Schema) (operand, error) {
	switch n.op {
	case "op":
		return operand{column: opColumn}, nil
	case "column":
		c := s.Column(n.name)
		if c < 0 {
			return operand{}, fail(n.pos, "%s has no column %s; choose the tables with the step's only:", s.FullName(), n.name)
		}
		return operand{column: c, def: &s.Columns[c]}, nil
	case "literal":
		return operand{column: noColumn, constant: n.lit.value()}, nil
	}
	return operand{}, fail(n.pos, "a column or a constant is expected here, not a condition")
}

// value returns a constant as it is written; a boolean is 1 or 0.
func (l literal) value() value {
	switch l.kind {
	case str:
		return value{form: text, text: []byte(l.text)}
	case word:
		if l.text == "true" {
			return value{form: signed, i: 1}
		}
		return value{form: signed}
	case number:
		if i, err := strconv.ParseInt(l.text, 10, 64); err == nil {
			return value{form: signed, i: i}
		}
		if u, err := strconv.ParseUint(l.text, 10, 64); err == nil {
			return value{form: unsigned, u: u}
		}
		if strings.ContainsAny(l.text, "eE") {
			f, _ := strconv.ParseFloat(l.text, 64)
			return value{form: float, f: f}
		}
		return value{form: decimal, text: []byte(l.text)}
	}
	return value{}
}

func bindCompare(n *node, s *sdk.Schema) (test, error) {
	x, err := bindOperand(n.args[0], s)
	if err != nil {
		return nil, err
	}
	y, err := bindOperand(n.args[1], s)
	if err != nil {
		return nil, err
	}
	if err := x.suit(&y, n); err != nil {
		return nil, err
	}
	if err := y.suit(&x, n); err != nil {
		return nil, err
	}
	op := comparisonOf(n.op)
	if x.column >= 0 && x.def.Type == sdk.TypeInt && y.column == noColumn && y.constant.form == signed {
		return &intTest{x.column, op, y.constant.i}, nil
	}
	return &compareTest{x, y, op}, nil
}

func bindIn(n *node, s *sdk.Schema) (test, error) {
	x, err := bindOperand(n.args[0], s)
	if err != nil {
		return nil, err
	}
	list := make([]operand, len(n.args)-1)
	for i, a := range n.args[1:] {
		list[i], _ = bindOperand(a, s)
		if err := x.suit(&list[i], a); err != nil {
			return nil, err
		}
	}
	return inTest{x, list, n.not}, nil
}

// isText reports whether the operand's values are text.
func (x operand) isText() bool {
	switch x.column {
	case opColumn:
		return true
	case noColumn:
		return x.constant.form == text
	}
	return !x.def.Type.Inline() && x.def.Type != sdk.TypeDecimal
}

// isTime reports whether the operand is a date or time column, whose slots
// compare as numbers.
func (x operand) isTime() bool {
	if x.column < 0 {
		return false
	}
	switch x.def.Type {
	case sdk.TypeDate, sdk.TypeTime, sdk.TypeDateTime, sdk.TypeTimestamp:
		return true
	}
	return false
}

// suit checks that y can be compared with x, and turns y, when it is a
// constant, into the form that x's column has.
func (x operand) suit(y *operand, n *node) error {
	if y.column == noColumn && y.constant.form == null || x.column == noColumn && x.constant.form == null {
		return nil
	}
	switch {
	case x.isTime() && y.column == noColumn:
		if y.constant.form != text {
			return fail(n.pos, "compare %s, a %s, with a text such as %s", x.def.Name, x.def.Type, timeExample(x.def.Type))
		}
		v, err := timeSlot(x.def.Type, string(y.constant.text))
		if err != nil {
			return fail(n.pos, "%q is not a %s; write it as %s", y.constant.text, x.def.Type, timeExample(x.def.Type))
		}
		y.constant = v
	case x.isTime() || y.isTime():
		if x.column >= 0 && y.column >= 0 && x.def.Type != y.def.Type {
			return fail(n.pos, "%s and %s are of different types", x.def.Name, y.def.Name)
		}
	case x.column == opColumn && y.column == noColumn:
		if sdkOp(y.constant.text) == sdk.OpInvalid {
			return fail(n.pos, "op is 'insert', 'update', 'delete', 'read' or 'truncate'")
		}
	case x.isText() != y.isText():
		return fail(n.pos, "a number and a text can't be compared; write text in single quotes, and numbers without")
	}
	return nil
}

func timeExample(t sdk.Type) string {
	return map[sdk.Type]string{sdk.TypeDate: "'2025-01-31'", sdk.TypeTime: "'-12:30:00.5'",
		sdk.TypeDateTime: "'2025-01-31 12:30:00'", sdk.TypeTimestamp: "'2025-01-31T12:30:00Z'"}[t]
}

// timeSlot reads a constant into the form of a column's slots.
func timeSlot(t sdk.Type, s string) (value, error) {
	if t == sdk.TypeTime {
		us, err := parseTime(s)
		return value{form: signed, i: us}, err
	}
	layouts := []string{"2006-01-02"}
	if t != sdk.TypeDate {
		layouts = append(layouts, "2006-01-02 15:04:05", "2006-01-02T15:04:05", time.RFC3339)
	}
	for _, layout := range layouts {
		at, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		switch t {
		case sdk.TypeDate:
			return value{form: unsigned, u: sdk.PackDate(at.Year(), int(at.Month()), at.Day())}, nil
		case sdk.TypeTimestamp:
			return value{form: signed, i: at.UnixMicro()}, nil
		}
		if layout == time.RFC3339 {
			break // a DATETIME has no zone
		}
		return value{form: unsigned, u: sdk.PackDateTime(sdk.Civil{Year: at.Year(), Month: int(at.Month()), Day: at.Day(),
			Hour: at.Hour(), Minute: at.Minute(), Second: at.Second(), Micro: at.Nanosecond() / 1000})}, nil
	}
	return value{}, fmt.Errorf("no layout fits")
}

// parseTime reads [-]hours:minutes:seconds[.fraction] into microseconds.
func parseTime(s string) (int64, error) {
	body, negative := strings.CutPrefix(s, "-")
	parts := strings.Split(body, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("not a time")
	}
	h, err1 := strconv.ParseUint(parts[0], 10, 16)
	m, err2 := strconv.ParseUint(parts[1], 10, 8)
	sec, err3 := strconv.ParseFloat(parts[2], 64)
	if err1 != nil || err2 != nil || err3 != nil || h > 838 || m > 59 || sec < 0 || sec >= 60 {
		return 0, fmt.Errorf("not a time")
	}
	us := int64(h*3600+m*60)*1e6 + int64(math.Round(sec*1e6))
	if negative {
		us = -us
	}
	return us, nil
}

var opNames = [...][]byte{sdk.OpInvalid: nil, sdk.OpInsert: []byte("insert"), sdk.OpUpdate: []byte("update"),
	sdk.OpDelete: []byte("delete"), sdk.OpRead: []byte("read"), sdk.OpTruncate: []byte("truncate")}

func sdkOp(name []byte) sdk.Op {
	for op, n := range opNames {
		if n != nil && bytes.Equal(n, name) {
			return sdk.Op(op)
		}
	}
	return sdk.OpInvalid
}
