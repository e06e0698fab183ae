package debezium

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format/formattest"
	"github.com/cdcd-io/cdcd/sdk"
)

// read reads a value back as a consumer of Debezium's messages does, and prints
// it as the server does; "lost" for what Debezium's default does not tell.
func read(p *cdctest.Probe, got any) string {
	number, _ := got.(json.Number)
	n, _ := strconv.ParseInt(number.String(), 10, 64)
	text, _ := got.(string)
	raw, _ := base64.StdEncoding.DecodeString(text)
	if got == nil {
		return "lost"
	}
	switch p.Type {
	case sdk.TypeUint:
		return strconv.FormatUint(uint64(n), 10)
	case sdk.TypeYear:
		return fmt.Sprintf("%04d", n)
	case sdk.TypeBit:
		if b, ok := got.(bool); ok {
			return map[bool]string{false: "0", true: "1"}[b]
		}
		return strconv.FormatUint(binary.LittleEndian.Uint64(append(raw, make([]byte, 8)...)), 10)
	case sdk.TypeDecimal:
		return scaled(raw, int(p.Scale()))
	case sdk.TypeDate:
		return time.Unix(n*86400, 0).UTC().Format("2006-01-02")
	case sdk.TypeTime:
		sign := ""
		if n < 0 {
			sign, n = "-", -n
		}
		return cut(fmt.Sprintf("%s%02d:%02d:%02d.%06d", sign, n/3600e6, n/60e6%60, n/1e6%60, n%1e6), p)
	case sdk.TypeDateTime:
		if p.Scale() <= 3 {
			n *= 1000
		}
		return cut(time.UnixMicro(n).UTC().Format("2006-01-02 15:04:05.000000"), p)
	case sdk.TypeTimestamp:
		if strings.HasPrefix(text, "1970-01-01T00:00:00") {
			return "lost"
		}
		return strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z")
	case sdk.TypeBytes:
		return hex.EncodeToString(raw)
	case sdk.TypeGeometry:
		g := got.(map[string]any)
		srid := 0
		if g["srid"] != nil {
			srid, _ = strconv.Atoi(g["srid"].(json.Number).String())
		}
		wkb, _ := base64.StdEncoding.DecodeString(g["wkb"].(string))
		return hex.EncodeToString(append(binary.LittleEndian.AppendUint32(nil, uint32(srid)), wkb...))
	case sdk.TypeInt:
		return number.String()
	}
	return text
}

// scaled prints an unscaled two's complement.
func scaled(raw []byte, scale int) string {
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Neg(n)
	}
	digits := fmt.Sprintf("%0*s", scale+1, n.String())
	if scale == 0 {
		return sign + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func cut(text string, p *cdctest.Probe) string {
	if p.Scale() == 0 {
		return text[:len(text)-7]
	}
	return text[:len(text)-6+int(p.Scale())]
}

// Every value of the matrix is read back as the server prints it, but for dates
// that no calendar has, which Debezium's default gives up.
func TestValuesReadBack(t *testing.T) {
	lost := map[string]int{}
	suite("plain").Values(t, func(p *cdctest.Probe, v *cdctest.Value, got any) {
		want := v.Text
		switch p.Type {
		case sdk.TypeFloat32, sdk.TypeFloat64, sdk.TypeVector:
			var f any
			d := json.NewDecoder(strings.NewReader(p.JSON(v)))
			d.UseNumber()
			if err := d.Decode(&f); err != nil || !sameNumbers(f, got, p.Type) {
				t.Errorf("%s %s: %v", p.Column, v.Text, got)
			}
			return
		}
		if p.Type == sdk.TypeJSON {
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(want)); err != nil {
				t.Fatal(err)
			}
			want = compact.String()
		}
		text := read(p, got)
		if text == "lost" {
			if !strings.Contains(want, "-00") && !strings.HasPrefix(want, "0000-") {
				t.Errorf("%s %s is lost", p.Column, want)
			}
			lost[p.Type.String()]++
			return
		}
		if text != want {
			t.Errorf("%s: %v reads back as %.200q, want %.200q", p.Column, got, text, want)
		}
	})
	if d := cmp.Diff(map[string]int{"date": 4, "datetime": 28, "timestamp": 7}, lost); d != "" {
		t.Errorf("dates that are lost (-want +got):\n%s", d)
	}
}

func sameNumbers(want, got any, of sdk.Type) bool {
	if list, ok := want.([]any); ok {
		other := got.([]any)
		for i := range list {
			if !sameNumbers(list[i], other[i], sdk.TypeFloat32) {
				return false
			}
		}
		return len(list) == len(other)
	}
	bits := 64
	if of == sdk.TypeFloat32 {
		bits = 32
	}
	a, err := strconv.ParseFloat(want.(json.Number).String(), bits)
	b, err2 := strconv.ParseFloat(got.(json.Number).String(), bits)
	return err == nil && err2 == nil && a == b
}

// A Decimal is the number that its text is, whatever the digits.
func TestDecimal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		digits := rapid.StringMatching(`[0-9]{1,65}`).Draw(rt, "digits")
		scale := rapid.IntRange(0, min(30, len(digits))).Draw(rt, "scale")
		text := digits[:len(digits)-scale]
		if text == "" {
			text = "0"
		}
		if scale > 0 {
			text += "." + digits[len(digits)-scale:]
		}
		if rapid.Bool().Draw(rt, "negative") {
			text = "-" + text
		}
		var b64 string
		if err := json.Unmarshal(appendDecimal(nil, []byte(text), scale), &b64); err != nil {
			rt.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(b64)
		want, _ := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
		got, _ := new(big.Int).SetString(strings.Replace(scaled(raw, scale), ".", "", 1), 10)
		if err != nil || want.Cmp(got) != 0 {
			rt.Fatalf("%s: %q reads back as %v", text, b64, got)
		}
		if len(raw) > 1 && (raw[0] == 0 && raw[1] < 0x80 || raw[0] == 0xff && raw[1] >= 0x80) {
			rt.Fatalf("%s: %x is not the shortest", text, raw)
		}
	})
	for text, want := range map[string]string{"1.5": `"AJY="`, "1.500": `"1.500"`, "": `""`, "-": `"-"`, "1e5": `"1e5"`, "1.2.3": `"1.2.3"`,
		strings.Repeat("9", 77): `"` + strings.Repeat("9", 77) + `"`, "+1": `"ZA=="`} {
		if got := string(appendDecimal(nil, []byte(text), 2)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// The options that give up less, and the one that gives up more.
func TestModes(t *testing.T) {
	table := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{
		{Name: "u", Type: sdk.TypeUint, Native: "bigint unsigned"}, {Name: "d", Type: sdk.TypeDecimal, Scale: 2, Native: "decimal(20,2)"},
		{Name: "f", Type: sdk.TypeFloat32, Native: "float(7,2)"}, {Name: "x", Type: sdk.TypeUint}, {Name: "z", Type: sdk.TypeInt}}}
	for _, c := range []struct {
		name    string
		options func(*Config)
		want    string
	}{
		{"defaults", func(*Config) {}, `{"u":-1,"d":"AQ==","f":0.10000000149011612,"x":-2,"z":-3}`},
		{"precise", func(c *Config) { c.BigintUnsignedHandlingMode = "precise" }, `{"u":"AP//////////","d":"AQ==","f":0.10000000149011612,"x":"AP/////////+","z":-3}`},
		{"string", func(c *Config) { c.DecimalHandlingMode = "string" }, `{"u":-1,"d":"0.01","f":0.10000000149011612,"x":-2,"z":-3}`},
		{"double", func(c *Config) { c.DecimalHandlingMode = "double" }, `{"u":-1,"d":0.01,"f":0.10000000149011612,"x":-2,"z":-3}`},
	} {
		s := suite(c.name, c.options)
		b := formattest.Batch(t, table, formattest.Transaction(formattest.WithGTID), true, formattest.Row{Op: sdk.OpInsert,
			After: []string{"18446744073709551615", "0.01", "0.10000000149011612", "18446744073709551614", "-3"}})
		if got := string(s.Value(formattest.Messages(s.New(), b.Row(0))[0].Body)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
