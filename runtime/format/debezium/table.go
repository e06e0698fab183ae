package debezium

import (
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// table holds what is the same for all rows of one schema.
type table struct {
	schema   *sdk.Schema
	pipeline string
	columns  []column

	valueHead, keyHead []byte // `{"schema":…,"payload":`, or nothing
	tail               []byte // `}` behind a head

	source      []byte // `,"source":{"version":…,"ts_ms":`
	sourceDB    []byte // `,"db":…,"sequence":null,"ts_us":`
	sourceTable []byte // `,"table":…,"server_id":`

	attributes      []byte // `","iodebeziumversion":…,"iodebeziumtsms":"`
	attributesTable []byte // `,"iodebeziumdb":…,"iodebeziumserverid":"`
}

func (f *Format) table(s *sdk.Schema, c format.Context) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s && t.pipeline == c.Pipeline {
		return t
	}
	prefix := f.cfg.TopicPrefix
	if prefix == "" {
		prefix = c.Pipeline
	}
	t := &table{schema: s, pipeline: c.Pipeline, columns: make([]column, len(s.Columns))}
	types := make([]connectType, len(s.Columns))
	for i := range s.Columns {
		types[i], t.columns[i] = f.columnOf(&s.Columns[i])
	}
	if f.cfg.Schemas {
		t.valueHead = append(f.appendEnvelope([]byte(`{"schema":`), s, types, prefix), `,"payload":`...)
		t.keyHead = append(appendKeySchema([]byte(`{"schema":`), s, types, prefix), `,"payload":`...)
		t.tail = []byte{'}'}
	}
	t.source = jsontext.AppendText([]byte(`,"source":{"version":"`+version+`","connector":`), f.cfg.Connector)
	t.source = append(jsontext.AppendText(append(t.source, `,"name":`...), prefix), `,"ts_ms":`...)
	t.sourceDB = append(jsontext.AppendText([]byte(`,"db":`), s.DB), `,"sequence":null,"ts_us":`...)
	t.sourceTable = append(jsontext.AppendText([]byte(`,"table":`), s.Table), `,"server_id":`...)
	t.attributes = jsontext.AppendText([]byte(`","iodebeziumversion":"`+version+`","iodebeziumconnector":`), f.cfg.Connector)
	t.attributes = append(jsontext.AppendText(append(t.attributes, `,"iodebeziumname":`...), prefix), `,"iodebeziumtsms":"`...)
	t.attributesTable = jsontext.AppendText([]byte(`,"iodebeziumdb":`), s.DB)
	t.attributesTable = jsontext.AppendText(append(t.attributesTable, `,"iodebeziumtable":`...), s.Table)
	t.attributesTable = append(t.attributesTable, `,"iodebeziumserverid":"`...)
	f.tables[s.ID] = t
	return t
}

// columnOf returns a column's type and encoding: what Debezium's MySQL and
// MariaDB connectors give with the options of the configuration.
func (f *Format) columnOf(c *sdk.Column) (connectType, column) {
	n := parseNative(c.Native)
	col := column{name: append(jsontext.AppendText(nil, c.Name), ':'), scale: c.Scale, nullable: c.Nullable}
	var t connectType
	switch c.Type {
	case sdk.TypeInt:
		t, col.encoding = connectType{typ: intType(n.base, false)}, asInt
	case sdk.TypeUint:
		t, col.encoding = f.unsigned(n)
	case sdk.TypeFloat32:
		t, col.encoding = connectType{typ: "float"}, asFloat32
		if n.numbers == 2 { // FLOAT(M,D)
			t, col.encoding = connectType{typ: "double"}, asFloat64
		}
	case sdk.TypeFloat64:
		t, col.encoding = connectType{typ: "double"}, asFloat64
	case sdk.TypeDecimal:
		t, col.encoding = f.decimal(n, c.Scale)
	case sdk.TypeBit:
		bits := max(int(c.Length), 1)
		t, col.encoding, col.bytes = connectType{typ: "boolean"}, asBool, min((bits+7)/8, 8)
		if bits > 1 {
			t, col.encoding = connectType{typ: "bytes", name: "io.debezium.data.Bits", parameters: [][2]string{{"length", strconv.Itoa(bits)}}}, asBits
		}
	case sdk.TypeYear:
		t, col.encoding = connectType{typ: "int32", name: "io.debezium.time.Year"}, asInt
	case sdk.TypeDate:
		t, col.encoding = connectType{typ: "int32", name: "io.debezium.time.Date"}, asDate
	case sdk.TypeTime:
		t, col.encoding = connectType{typ: "int64", name: "io.debezium.time.MicroTime"}, asInt
	case sdk.TypeDateTime:
		t, col.encoding = connectType{typ: "int64", name: "io.debezium.time.Timestamp"}, asMillis
		if c.Scale > 3 {
			t, col.encoding = connectType{typ: "int64", name: "io.debezium.time.MicroTimestamp"}, asMicros
		}
	case sdk.TypeTimestamp:
		t, col.encoding = connectType{typ: "string", name: "io.debezium.time.ZonedTimestamp"}, asZoned
	case sdk.TypeBytes:
		t, col.encoding = connectType{typ: "bytes"}, asBytes
	case sdk.TypeGeometry:
		t, col.encoding = geometryType, asGeometry
		if n.base == "point" {
			t, col.encoding = pointType, asPoint
		}
	case sdk.TypeVector:
		t, col.encoding = connectType{typ: "array", items: "float", name: "io.debezium.data.FloatVector"}, asVector
	default:
		t, col.encoding = textType(c), asText
		if c.Type == sdk.TypeJSON {
			col.encoding = asJSON
		}
	}
	return t, col
}

// textType returns the type of a column whose values are strings.
func textType(c *sdk.Column) connectType {
	t := connectType{typ: "string"}
	switch c.Type {
	case sdk.TypeEnum:
		t.name, t.parameters = "io.debezium.data.Enum", [][2]string{{"allowed", strings.Join(c.Labels, ",")}}
	case sdk.TypeSet:
		t.name, t.parameters = "io.debezium.data.EnumSet", [][2]string{{"allowed", strings.Join(c.Labels, ",")}}
	case sdk.TypeJSON:
		t.name = "io.debezium.data.Json"
	case sdk.TypeUUID:
		t.name = "io.debezium.data.Uuid"
	}
	return t
}

func (f *Format) unsigned(n native) (connectType, encoding) {
	typ := intType(n.base, true)
	if n.base != "bigint" && n.base != "" {
		return connectType{typ: typ}, asInt
	}
	if f.cfg.BigintUnsignedHandlingMode == "precise" {
		return decimalType(20, 0), asBig
	}
	return connectType{typ: typ}, asWrapped
}

func (f *Format) decimal(n native, scale uint8) (connectType, encoding) {
	switch f.cfg.DecimalHandlingMode {
	case "string":
		return connectType{typ: "string"}, asText
	case "double":
		return connectType{typ: "double"}, asDouble
	}
	return decimalType(n.first, int(scale)), asDecimal
}

// intType returns the type of integers of a native type; int64 takes all of them.
func intType(base string, unsigned bool) string {
	switch base {
	case "tinyint":
		return "int16"
	case "smallint":
		if !unsigned {
			return "int16"
		}
		return "int32"
	case "mediumint":
		return "int32"
	case "int", "integer":
		if !unsigned {
			return "int32"
		}
	}
	return "int64"
}

// native is a type as the server names it: "decimal(10,2) unsigned".
type native struct {
	base    string // lower case
	numbers int    // in parentheses
	first   int    // of them; 0 without
}

func parseNative(s string) (n native) {
	s = strings.ToLower(s)
	end := strings.IndexAny(s, " (")
	if end < 0 {
		return native{base: s}
	}
	n.base = s[:end]
	if s[end] != '(' {
		return n
	}
	inside, _, _ := strings.Cut(s[end+1:], ")")
	for i, t := range strings.Split(inside, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(t))
		if err != nil {
			return n // labels
		}
		if i == 0 {
			n.first = v
		}
		n.numbers++
	}
	return n
}
