package main

import (
	"cmp"
	"fmt"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/sdk"
)

// truthValue is SQL's three-valued logic.
type truthValue uint8

const (
	no truthValue = iota
	yes
	unknown
)

func truth(b bool) truthValue {
	if b {
		return yes
	}
	return no
}

// env is the row in hand. err keeps the first thing that could not be read.
type env struct {
	op    sdk.Op
	image sdk.Image
	err   error
}

// test is a condition bound to a table.
type test interface{ eval(*env) truthValue }

type (
	allOf        []test
	anyOf        []test
	negated      struct{ of test }
	constantTest truthValue
	nullTest     struct {
		x   operand
		not bool
	}
	compareTest struct {
		x, y operand
		op   comparison
	}
	// intTest is compareTest for a column of whole numbers and a constant, the most
	// frequent condition.
	intTest struct {
		column int
		op     comparison
		to     int64
	}
	inTest struct {
		x    operand
		list []operand
		not  bool
	}
	likeTest struct {
		x       operand
		pattern []byte
		not     bool
	}
)

func (t allOf) eval(e *env) truthValue {
	result := yes
	for _, part := range t {
		switch part.eval(e) {
		case no:
			return no
		case unknown:
			result = unknown
		}
	}
	return result
}

func (t anyOf) eval(e *env) truthValue {
	result := no
	for _, part := range t {
		switch part.eval(e) {
		case yes:
			return yes
		case unknown:
			result = unknown
		}
	}
	return result
}

func (t negated) eval(e *env) truthValue { return invert(t.of.eval(e), true) }

// invert negates what is known.
func invert(v truthValue, not bool) truthValue {
	if not && v != unknown {
		return yes - v
	}
	return v
}

func (t constantTest) eval(*env) truthValue { return truthValue(t) }

func (t nullTest) eval(e *env) truthValue {
	isNull := t.x.column == noColumn && t.x.constant.form == null ||
		t.x.column >= 0 && (!e.image.Valid() || !e.image.Has(t.x.column))
	return invert(truth(isNull), t.not)
}

func (t *compareTest) eval(e *env) truthValue {
	x, y := t.x.value(e), t.y.value(e)
	if x.form == null || y.form == null {
		return unknown
	}
	return t.op.holds(compare(x, y))
}

func (t *intTest) eval(e *env) truthValue {
	if !e.image.Valid() || !e.image.Has(t.column) {
		return unknown
	}
	return t.op.holds(cmp.Compare(e.image.Int(t.column), t.to))
}

// comparison is a set of the outcomes less, equal and greater: those for which an
// operator holds.
type comparison uint8

const (
	less comparison = 1 << iota
	equal
	greater
)

// comparisonOf returns the set of an operator, as parse names it.
func comparisonOf(op string) comparison {
	switch op {
	case "=":
		return equal
	case "!=":
		return less | greater
	case "<":
		return less
	case "<=":
		return less | equal
	case ">":
		return greater
	}
	return greater | equal
}

// holds says whether the outcome, -1, 0 or 1, is in the set.
func (c comparison) holds(outcome int) truthValue { return truth(c>>(outcome+1)&1 != 0) }

func (t inTest) eval(e *env) truthValue {
	x := t.x.value(e)
	if x.form == null {
		return unknown
	}
	result := no
	for i := range t.list {
		y := t.list[i].constant
		if y.form == null {
			result = unknown
		} else if compare(x, y) == 0 {
			return invert(yes, t.not)
		}
	}
	return invert(result, t.not)
}

func (t likeTest) eval(e *env) truthValue {
	x := t.x.value(e)
	if x.form == null {
		return unknown
	}
	return invert(truth(like(x.text, t.pattern)), t.not)
}

// value reads the operand from the row.
func (x *operand) value(e *env) value {
	switch x.column {
	case noColumn:
		return x.constant
	case opColumn:
		return value{form: text, text: opNames[e.op]}
	}
	c := x.column
	if !e.image.Valid() || !e.image.Has(c) {
		return value{}
	}
	switch x.def.Type {
	case sdk.TypeInt, sdk.TypeTime, sdk.TypeTimestamp:
		return value{form: signed, i: e.image.Int(c)}
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear, sdk.TypeDate, sdk.TypeDateTime:
		return value{form: unsigned, u: e.image.Uint(c)}
	case sdk.TypeFloat32, sdk.TypeFloat64:
		return value{form: float, f: e.image.Float(c)}
	}
	if _, n, large := e.image.IsLarge(c); large {
		if e.err == nil {
			e.err = fmt.Errorf("%s has a value of %d bytes, too large to compare", x.def.Name, n)
		}
		return value{}
	}
	if x.def.Type == sdk.TypeDecimal {
		return value{form: decimal, text: e.image.Bytes(c)}
	}
	return value{form: text, text: e.image.Bytes(c)}
}

// like matches SQL's pattern: % is any text, _ one character, and a backslash
// takes the next character as it is. It goes back to the last % only, so that
// the work is bounded by the product of the lengths.
func like(s, pattern []byte) bool {
	i, j := 0, 0
	star, from := -1, 0
	for i < len(s) {
		if j < len(pattern) && pattern[j] == '%' {
			star, from = j, i
			j++
			continue
		}
		if n, m := matchOne(s[i:], pattern[j:]); n > 0 {
			i, j = i+n, j+m
			continue
		}
		if star < 0 {
			return false
		}
		_, size := utf8.DecodeRune(s[from:])
		from += size
		i, j = from, star+1
	}
	for j < len(pattern) && pattern[j] == '%' {
		j++
	}
	return j == len(pattern)
}

// matchOne matches one character of s, and returns how many bytes of both it took.
func matchOne(s, pattern []byte) (n, m int) {
	if len(pattern) == 0 {
		return 0, 0
	}
	if pattern[0] == '_' {
		_, size := utf8.DecodeRune(s)
		return size, 1
	}
	m = 1
	if pattern[0] == '\\' && len(pattern) > 1 {
		pattern, m = pattern[1:], 2
	}
	if s[0] != pattern[0] {
		return 0, 0
	}
	return 1, m
}
