package cdctest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
)

// The flavours of server, by the names that go-mysql gives them.
const (
	MySQL   = "mysql"
	MariaDB = "mariadb"
)

// Probe is one column type with its edge values: one line of the matrix. What
// reads rows, from a log or from a SELECT, must give the value whose ServerText
// is Value.Text; what renders them, the text of Probe.JSON.
type Probe struct {
	Kind   string   // heading on the page of types
	Column string   // definition, as behind the name in CREATE TABLE
	Type   sdk.Type // what the column becomes
	Flavor string   // MySQL or MariaDB; "" for both
	Select string   // the expression over v whose text is Value.Text; "" for v itself
	Setup  []string // statements that the values need
	// Catalog says that no log tells the type, also with binlog_row_metadata=FULL:
	// without the server's catalog the column becomes bytes.
	Catalog bool
	// FullOnly says that only binlog_row_metadata=FULL tells the column's labels:
	// the server's own catalog has lost them.
	FullOnly bool
	Values   []Value
	Refused  []string // values, as SQL, that the server takes and that have no text
}

// Value is one value of a column. NULL is a value of every column and is not
// among them.
type Value struct {
	SQL  string // as an expression
	Text string // what the server prints in a session with utf8mb4 and UTC; bytes in hexadecimal
	JSON string // in the message format json; "" where it follows from Text
}

// NullText is ServerText's answer for NULL, and AbsentText for a column that
// the image lacks.
const (
	NullText   = "NULL"
	AbsentText = "ABSENT"
)

// Probes returns the matrix for a flavour, "" for both: about 150 types. The
// session that writes and reads the values has set names utf8mb4, time_zone
// '+00:00' and an empty sql_mode.
func Probes(flavor string) []Probe {
	all := slices.Concat(integers(), numbers(), dates(), times(), texts(), charsets(), choices(),
		byteStrings(), documents(), spatial(), mariaTypes())
	return slices.DeleteFunc(all, func(p Probe) bool {
		return flavor != "" && p.Flavor != "" && p.Flavor != flavor
	})
}

// Expression is what to select of column v.
func (p *Probe) Expression() string {
	if p.Select == "" {
		return "v"
	}
	return p.Select
}

// Scale is the number of fractional digits that the definition declares.
func (p *Probe) Scale() uint8 {
	name, rest, found := strings.Cut(p.Column, "(")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ")")
	if name == "DECIMAL" {
		_, digits, _ = strings.Cut(digits, ",")
	} else if name != "TIME" && name != "DATETIME" && name != "TIMESTAMP" {
		return 0
	}
	var n uint8
	_, _ = fmt.Sscan(digits, &n) // a definition without digits has none
	return n
}

// JSON returns the value as the message format json writes it.
func (p *Probe) JSON(v *Value) string {
	if v.JSON != "" {
		return v.JSON
	}
	switch p.Type {
	case sdk.TypeInt, sdk.TypeUint, sdk.TypeBit, sdk.TypeYear, sdk.TypeFloat32, sdk.TypeFloat64, sdk.TypeJSON:
		return v.Text
	case sdk.TypeDateTime, sdk.TypeTimestamp:
		if strings.Contains(v.Text[:10], "-00") {
			return `"` + v.Text + `"` // no calendar has it
		}
		zone := ""
		if p.Type == sdk.TypeTimestamp {
			zone = "Z"
		}
		return `"` + strings.Replace(v.Text, " ", "T", 1) + zone + `"`
	case sdk.TypeBytes:
		return `"` + base64.StdEncoding.EncodeToString(unhex(v.Text)) + `"`
	case sdk.TypeGeometry:
		raw := unhex(v.Text)
		return fmt.Sprintf(`{"srid":%d,"wkb":"%s"}`, binary.LittleEndian.Uint32(raw), base64.StdEncoding.EncodeToString(raw[4:]))
	}
	return quoteJSON(v.Text)
}

// quoteJSON quotes text as RFC 8259 demands, and escapes nothing else.
func quoteJSON(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// unhex decodes what the matrix itself wrote.
func unhex(text string) []byte {
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic(fmt.Sprintf("cdctest: the matrix has %q where bytes in hexadecimal belong", text))
	}
	return raw
}

// ServerText prints column i of an image as a server prints it in a session
// with utf8mb4 and UTC; bytes, geometries and vectors in hexadecimal, BIT and
// FLOAT as the numbers that they are (a server prints raw bits, and six digits
// of a FLOAT).
func ServerText(c *sdk.Column, m sdk.Image, i int) string {
	switch {
	case m.IsAbsent(i):
		return AbsentText
	case m.IsNull(i):
		return NullText
	}
	switch c.Type {
	case sdk.TypeYear:
		return fmt.Sprintf("%04d", m.Uint(i))
	case sdk.TypeFloat32:
		return string(m.AppendText(nil, &sdk.Column{Type: sdk.TypeFloat64}, i))
	case sdk.TypeTimestamp:
		text := string(m.AppendText(nil, c, i))
		return strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z")
	case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
		return hex.EncodeToString(m.Bytes(i))
	}
	return string(m.AppendText(nil, c, i))
}

// The texts of the matrix are written in a few forms.

// same are values that read as they are written.
func same(texts ...string) (out []Value) {
	for _, t := range texts {
		out = append(out, Value{SQL: "'" + strings.NewReplacer("'", "''", `\`, `\\`).Replace(t) + "'", Text: t})
	}
	return out
}

// pairs are values as SQL, each with its text behind it.
func pairs(texts ...string) (out []Value) {
	for i := 0; i < len(texts); i += 2 {
		out = append(out, Value{SQL: texts[i], Text: texts[i+1]})
	}
	return out
}

// triples are values as SQL, each with its text and its JSON behind it.
func triples(texts ...string) (out []Value) {
	for i := 0; i < len(texts); i += 3 {
		out = append(out, Value{SQL: texts[i], Text: texts[i+1], JSON: texts[i+2]})
	}
	return out
}

const (
	hexed    = "LOWER(HEX(v))"
	asNumber = "v + 0"
)
