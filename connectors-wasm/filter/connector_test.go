package main

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

func TestCases(t *testing.T) {
	sdktest.Run(t, func() guest.Connector { return &filter{} }, "testdata/*.json")
}

// table has a column of each form.
var table = &sdk.Schema{ID: 1, DB: "shop", Table: "t", Columns: []sdk.Column{
	{Name: "i", Type: sdk.TypeInt}, {Name: "u", Type: sdk.TypeUint}, {Name: "f", Type: sdk.TypeFloat64},
	{Name: "d", Type: sdk.TypeDecimal}, {Name: "s", Type: sdk.TypeString}, {Name: "n", Type: sdk.TypeInt, Nullable: true},
	{Name: "gone", Type: sdk.TypeInt}, {Name: "day", Type: sdk.TypeDate}, {Name: "at", Type: sdk.TypeDateTime},
	{Name: "ts", Type: sdk.TypeTimestamp}, {Name: "dur", Type: sdk.TypeTime}, {Name: "op", Type: sdk.TypeString},
}}

func sample() sdk.Row {
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{})
	b.BeginRow(table, sdk.OpUpdate, sdk.RowAfter, 0)
	m := b.After()
	m.SetSlot(0, 1<<64-5)
	m.SetSlot(1, 1<<64-1)
	m.SetSlot(2, 0x3FF8000000000000) // 1.5
	b.SetBytes(m, 3, []byte("-12.340"))
	b.SetBytes(m, 4, []byte("żaba 100%"))
	m.SetNull(5)
	m.SetSlot(7, sdk.PackDate(2025, 1, 31))
	m.SetSlot(8, sdk.PackDateTime(sdk.Civil{Year: 2025, Month: 1, Day: 31, Hour: 12, Micro: 500000}))
	m.SetSlot(9, 1_700_000_000_000_000)
	var dur int64 = -3_600_500_000
	m.SetSlot(10, uint64(dur))
	b.SetBytes(m, 11, []byte("column"))
	b.EndRow()
	return b.Seal([]*sdk.Schema{nil, table}).Row(0)
}

// A column of whole numbers is compared with a constant as any two values are.
func TestWholeNumbers(t *testing.T) {
	e := env{image: sample().After()}
	want := map[string][3]truthValue{ // for a constant below, at and above -5
		"=": {no, yes, no}, "!=": {yes, no, yes}, "<": {no, no, yes}, "<=": {no, yes, yes}, ">": {yes, no, no}, ">=": {yes, yes, no},
	}
	for op, outcomes := range want {
		for k, to := range [3]int64{math.MinInt64, -5, math.MaxInt64} {
			for column, want := range map[string]truthValue{"i": outcomes[k], "n": unknown, "gone": unknown} {
				n := &node{op: op, args: []*node{{op: "column", name: column}, {op: "literal", lit: literal{kind: number, text: strconv.FormatInt(to, 10)}}}}
				bound, err := bind(n, table)
				if err != nil {
					t.Fatal(err)
				}
				quick, ok := bound.(*intTest)
				if !ok {
					t.Fatalf("%s %s %d is a %T", column, op, to, bound)
				}
				c := table.Column(column)
				slow := &compareTest{operand{column: c, def: &table.Columns[c]}, operand{column: noColumn, constant: value{form: signed, i: to}}, comparisonOf(op)}
				if a, b := quick.eval(&e), slow.eval(&e); a != want || b != want {
					t.Errorf("%s %s %d: %d and %d, want %d", column, op, to, a, b, want)
				}
			}
		}
	}
}

func TestExpressions(t *testing.T) {
	r := sample()
	tests := map[string]truthValue{
		"true": yes, "false": no, "null": unknown, "TRUE AND true": yes,
		"i = -5": yes, "i < 0": yes, "i < u": yes, "u = 18446744073709551615": yes, "u > 9223372036854775807": yes,
		"u = 18446744073709551616": no, "u < 18446744073709551616.5": yes, "i > -5.0000000000000000001": yes,
		"f = 1.5": yes, "f >= 2": no, "f > i": yes, "f < 1e3": yes,
		"d = -12.34": yes, "d < -12.3": yes, "d > -13": yes, "d != -12.3400": no, "d <> -12": yes, "d < i": yes,
		"s = 'żaba 100%'": yes, "s > 'a'": yes, "s LIKE 'ża%'": yes, "s LIKE '_aba%'": yes, "s LIKE '%\\%'": yes,
		"s LIKE 'aba'": no, "s NOT LIKE 'x%'": yes, "s LIKE ''": no, "s LIKE '%%%'": yes,
		"n = 1": unknown, "n IS NULL": yes, "n IS NOT NULL": no, "gone IS NULL": yes, "NOT n = 1": unknown,
		"n = 1 OR true": yes, "n = 1 AND false": no, "n = 1 OR false": unknown, "n = 1 AND true": unknown,
		"n = null": unknown, "null IS NULL": yes, "i IS NULL": no,
		"i IN (1, -5, 3)": yes, "i IN (1, 2)": no, "i IN (1, null)": unknown, "i NOT IN (1, null)": unknown,
		"i NOT IN (1, 2)": yes, "s IN ('x', 'żaba 100%')": yes, "n IN (1)": unknown, "d IN (-12.34)": yes,
		"op = 'update'": yes, "op IN ('insert', 'delete')": no, "`op` = 'column'": yes, "'update' = op": yes,
		"day = '2025-01-31'": yes, "day < '2025-02-01'": yes, "day IN ('2025-01-31')": yes, "'2025-01-30' < day": yes,
		"at = '2025-01-31 12:00:00.5'": yes, "at > '2025-01-31'": yes, "at < '2025-01-31T12:00:00'": no,
		"ts = '2023-11-14T22:13:20Z'": yes, "ts < '2023-11-14T22:13:20+02:00'": no, "dur = '-01:00:00.5'": yes, "dur < '00:00:00'": yes,
		"i = true": no, "(i = 1 OR i = -5) AND NOT (u = 1)": yes, "not not true": yes, "5 > 3": yes, "'it''s' = 'it''s'": yes,
		"i = 1 OR i = -5 AND false": no, "(i = 1 OR i = -5) AND false": no,
	}
	for text, want := range tests {
		n, err := parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		bound, err := bind(n, table)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := bound.eval(&env{op: r.Op(), image: r.After()}); got != want {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	tests := []struct{ text, says string }{
		{"", "character 1: the expression ends too early"},
		{"i =", "character 4: the expression ends"},
		{"i = 1 x", `character 7: "x" is not expected`},
		{"i == 1", "character 4: a column, a constant"},
		{"ż = 1 AND (i = 1", "character 17: ) is missing"},
		{"s = 'open", "character 5: the closing ' is missing"},
		{`s = "x"`, "single quotes"},
		{"i ~ 1", `'~' is not understood`},
		{"i", "a condition is expected"},
		{"5", "a condition is expected"},
		{"i IS 5", "NULL is expected"},
		{"i NOT 5", "IN or LIKE"},
		{"i IN 5", "( is expected"},
		{"i IN (u)", "constants only"},
		{"i IN (1 2)", ", or )"},
		{"s LIKE 5", "text in single quotes"},
		{"i LIKE 'x'", "needs a column of text"},
		{"i = '5'", "can't be compared"},
		{"s = 5", "can't be compared"},
		{"i IN ('5')", "can't be compared"},
		{"nope = 1", "shop.t has no column nope"},
		{"op = 'upsert'", "op is 'insert'"},
		{"day = '2025-13-01'", "write it as"},
		{"day = 5", "with a text such as"},
		{"day = at", "different types"},
		{"at = '2025-01-31T12:00:00Z'", "write it as"},
		{"dur = '900:00:00'", "write it as"},
		{"(i = 1) = 1", "not a condition"},
		{"and = 1", "a column, a constant"},
		{"i = -", "a number is expected"},
		{strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), "nested"},
		{strings.Repeat("not ", 200) + "true", "nested"},
	}
	for _, tt := range tests {
		n, err := parse(tt.text)
		if err == nil {
			_, err = bind(n, table)
		}
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.40s: %v; want %q", tt.text, err, tt.says)
		}
	}
}

func TestCompareDecimalsAgreesWithBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.StringMatching(`-?[0-9]{1,25}(\.[0-9]{1,12})?`)
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		if got, want := compareDecimals([]byte(a), []byte(b)), x.Cmp(y); got != want {
			t.Fatalf("%s <=> %s is %d, want %d", a, b, got, want)
		}
	})
}

func TestRowAllocatesNothing(t *testing.T) {
	f := &filter{}
	if err := f.Init([]byte(`{"where": "d > -12.5 AND s LIKE '%100\\%' AND i IN (1, -5) AND d < i OR op = 'read'"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Schema(table); err != nil {
		t.Fatal(err)
	}
	r := sample()
	if n := testing.AllocsPerRun(100, func() {
		if v, err := f.Row(r, nil); v != sdk.VerdictPass || err != nil {
			t.Fatal(v, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per row", n)
	}
}

// Whatever is written, parsing ends with an expression that can be evaluated, or
// with an error that names a place in the text.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"i = 1 AND s LIKE '%x_' OR NOT n IS NULL", "d IN (1, -2.5e3, null)", "day >= '2025-01-31'", "`op` = 'it''s'", "((("} {
		f.Add(s)
	}
	r := sample()
	f.Fuzz(func(t *testing.T, text string) {
		n, err := parse(text)
		if err == nil {
			var bound test
			if bound, err = bind(n, table); err == nil {
				if v := bound.eval(&env{op: r.Op(), image: r.After()}); v > unknown {
					t.Fatalf("result %d", v)
				}
				return
			}
		}
		if e, ok := err.(*syntaxError); !ok || e.pos < 1 || e.pos > len(text)+1 {
			t.Fatalf("%v", err)
		}
	})
}
