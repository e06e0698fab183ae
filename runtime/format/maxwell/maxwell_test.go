package maxwell

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

func suite(name string, cfg Config) formattest.Suite {
	return formattest.Suite{Name: name, Update: *update, New: func() format.Format { return New(cfg) }, Value: formattest.At("data")}
}

func TestConformance(t *testing.T) { suite("plain", *NewConfig()).Run(t) }

func TestConformanceWithOptions(t *testing.T) {
	suite("options", Config{CommitInfo: true, XOffset: true, BinlogPosition: true, GTIDPosition: true, ServerID: true,
		PrimaryKeys: true, PrimaryKeyColumns: true}).Run(t)
}

func BenchmarkAppendRow(b *testing.B) { suite("plain", *NewConfig()).Benchmark(b) }

// Every value is what the server prints, in the form of its type.
func TestValues(t *testing.T) {
	suite("plain", *NewConfig()).Values(t, func(p *cdctest.Probe, v *cdctest.Value, got any) {
		want := v.Text
		switch p.Type {
		case sdk.TypeFloat32, sdk.TypeFloat64, sdk.TypeVector, sdk.TypeJSON:
			var a, b any
			text, _ := json.Marshal(got)
			if json.Unmarshal([]byte(p.JSON(v)), &a) != nil || json.Unmarshal(text, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %v, want %.200s", p.Column, got, p.JSON(v))
			}
			return
		case sdk.TypeYear:
			want = strings.TrimLeft(want, "0")
			if want == "" {
				want = "0"
			}
		case sdk.TypeBytes:
			raw, _ := base64.StdEncoding.DecodeString(got.(string))
			got = hex.EncodeToString(raw)
		case sdk.TypeSet:
			var labels []string
			for _, l := range got.([]any) {
				labels = append(labels, l.(string))
			}
			got = strings.Join(labels, ",")
		case sdk.TypeGeometry:
			if text := strings.ReplaceAll(got.(string), ", ", ","); !strings.Contains(plainWKT(v.SQL), plainWKT(text)) && !strings.Contains(v.SQL, "MULTIPOINT") {
				t.Errorf("%s %s: %v", p.Column, v.SQL, got)
			}
			return
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %.200v, want %.200q", p.Column, got, want)
		}
	})
}

func plainWKT(s string) string { return strings.ReplaceAll(s, " (", "(") }

func TestGeometry(t *testing.T) {
	for _, c := range []struct{ hexed, want string }{
		{"000000000101000000000000000000f03f000000000000e0bf", `"POINT (1 -0.5)"`},
		{"e61000000101000000000000000000f03f000000000000e0bf", `"POINT (1 -0.5)"`},
		{"0000000000000000013ff0000000000000bfe0000000000000", `"POINT (1 -0.5)"`},
		{"00000000010400000002000000" + "0101000000000000000000f03f0000000000000040" + "010100000000000000000000400000000000000840", `"MULTIPOINT ((1 2), (2 3))"`},
		{"00000000010700000000000000", `"GEOMETRYCOLLECTION EMPTY"`},
		{"00000000010700000001000000" + "010700000000000000", `"GEOMETRYCOLLECTION (GEOMETRYCOLLECTION EMPTY)"`},
		{"000000000101000000", `"AAAAAAEBAAAA"`},                 // cut
		{"0000000001020000000000ff7f", `"AAAAAAECAAAAAAD/fw=="`}, // more points than bytes
		{"000000000109000000", `"AAAAAAEJAAAA"`},                 // no such type
		{"", `""`},
	} {
		raw, err := hex.DecodeString(c.hexed)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendGeometry(nil, raw)); got != c.want {
			t.Errorf("%s: %s, want %s", c.hexed, got, c.want)
		}
	}
}

func FuzzGeometry(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x01\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, v []byte) {
		if got := appendGeometry(nil, v); !json.Valid(got) {
			t.Fatalf("%x gives %s", v, got)
		}
	})
}

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{"-12.340": "-12.340", "0.00": "0.00", "007": `"007"`, ".5": `".5"`, "5.": `"5."`, "": `""`, "1e5": `"1e5"`, "-": `"-"`} {
		if got := string(appendDecimal(nil, []byte(text))); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A transaction's rows share an xid, and the last of them says so.
func TestCommit(t *testing.T) {
	row := func(ordinal uint64) formattest.Row {
		return formattest.Row{Op: sdk.OpInsert, After: []string{"1", formattest.Null, "1.00", "2024-05-01 00:00:00.000", "new"}, Ordinal: ordinal}
	}
	for _, c := range []struct {
		tx    string
		whole bool
		want  []string
	}{
		{formattest.WithGTID, true, []string{`"xid":23,"data"`, `"xid":23,"commit":true,`}},
		{formattest.WithGTID, false, []string{`"xid":23,"data"`, `"xid":23,"data"`}},
		{formattest.WithoutGTID, true, []string{`"xid":1534,"data"`, `"xid":1534,"commit":true,`}},
		{"0-1-7", true, []string{`"xid":7,"data"`, `"xid":7,"commit":true,`}},
	} {
		b := formattest.Batch(t, formattest.Orders(), formattest.Transaction(c.tx), c.whole, row(0), row(1))
		for i, want := range c.want {
			if body := string(formattest.Messages(New(*NewConfig()), b.Row(i))[0].Body); !strings.Contains(body, want) {
				t.Errorf("%s, row %d: no %s in %s", c.tx, i, want, body)
			}
		}
	}
}

func TestGeometryAllocatesNothing(t *testing.T) {
	for _, p := range cdctest.Probes("") {
		for _, v := range p.Values {
			if p.Type != sdk.TypeGeometry {
				continue
			}
			raw, _ := hex.DecodeString(v.Text)
			buf := appendGeometry(nil, raw)
			if n := testing.AllocsPerRun(10, func() { buf = appendGeometry(buf[:0], raw) }); n != 0 {
				t.Errorf("%s: %v allocations", v.SQL, n)
			}
		}
	}
}
