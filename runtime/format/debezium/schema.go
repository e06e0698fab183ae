package debezium

import (
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// connectType is a schema of Kafka Connect as its JsonConverter writes it.
// Schemas that have a name are of version 1.
type connectType struct {
	typ        string
	items      string // type of an array's elements
	fields     string // of a struct, as JSON
	name       string
	doc        string
	parameters [][2]string
}

var (
	geometryType = connectType{typ: "struct", name: "io.debezium.data.geometry.Geometry", doc: "Geometry",
		fields: `[{"type":"bytes","optional":false,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}]`}
	pointType = connectType{typ: "struct", name: "io.debezium.data.geometry.Point", doc: "Geometry (POINT)",
		fields: `[{"type":"double","optional":false,"field":"x"},{"type":"double","optional":false,"field":"y"},` +
			`{"type":"bytes","optional":true,"field":"wkb"},{"type":"int32","optional":true,"field":"srid"}]`}
)

// decimalType is that of a DECIMAL(precision, scale); precision 0 says that it
// is not known.
func decimalType(precision, scale int) connectType {
	t := connectType{typ: "bytes", name: "org.apache.kafka.connect.data.Decimal", parameters: [][2]string{{"scale", strconv.Itoa(scale)}}}
	if precision > 0 {
		t.parameters = append(t.parameters, [2]string{"connect.decimal.precision", strconv.Itoa(precision)})
	}
	return t
}

// append appends the schema of a struct's field.
func (t *connectType) append(dst []byte, field string, optional bool) []byte {
	dst = append(append(append(dst, `{"type":"`...), t.typ...), '"')
	if t.items != "" {
		dst = append(append(append(dst, `,"items":{"type":"`...), t.items...), `","optional":false}`...)
	}
	if t.fields != "" {
		dst = append(append(dst, `,"fields":`...), t.fields...)
	}
	dst = strconv.AppendBool(append(dst, `,"optional":`...), optional)
	if t.name != "" {
		dst = append(append(append(dst, `,"name":"`...), t.name...), `","version":1`...)
	}
	if t.doc != "" {
		dst = append(append(append(dst, `,"doc":"`...), t.doc...), '"')
	}
	for i, p := range t.parameters {
		if i == 0 {
			dst = append(dst, `,"parameters":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = jsontext.AppendText(append(jsontext.AppendText(dst, p[0]), ':'), p[1])
	}
	if len(t.parameters) > 0 {
		dst = append(dst, '}')
	}
	return append(jsontext.AppendText(append(dst, `,"field":`...), field), '}')
}

// appendRowSchema appends the schema of an image.
func appendRowSchema(dst []byte, s *sdk.Schema, types []connectType, name, field string) []byte {
	dst = append(dst, `{"type":"struct","fields":[`...)
	for i := range s.Columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = types[i].append(dst, s.Columns[i].Name, s.Columns[i].Nullable)
	}
	dst = jsontext.AppendText(append(dst, `],"optional":true,"name":`...), name)
	return append(jsontext.AppendText(append(dst, `,"field":`...), field), '}')
}

// sourceSchema is the schema of the block source, behind which its name goes.
const sourceSchema = `{"type":"struct","fields":[` +
	`{"type":"string","optional":false,"field":"version"},` +
	`{"type":"string","optional":false,"field":"connector"},` +
	`{"type":"string","optional":false,"field":"name"},` +
	`{"type":"int64","optional":false,"field":"ts_ms"},` +
	`{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,` +
	`"parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},` +
	`"default":"false","field":"snapshot"},` +
	`{"type":"string","optional":false,"field":"db"},` +
	`{"type":"string","optional":true,"field":"sequence"},` +
	`{"type":"int64","optional":true,"field":"ts_us"},` +
	`{"type":"int64","optional":true,"field":"ts_ns"},` +
	`{"type":"string","optional":true,"field":"table"},` +
	`{"type":"int64","optional":false,"field":"server_id"},` +
	`{"type":"string","optional":true,"field":"gtid"},` +
	`{"type":"string","optional":false,"field":"file"},` +
	`{"type":"int64","optional":false,"field":"pos"},` +
	`{"type":"int32","optional":false,"field":"row"},` +
	`{"type":"int64","optional":true,"field":"thread"},` +
	`{"type":"string","optional":true,"field":"query"}],"optional":false,"name":`

// envelopeTail is what follows the block source in the envelope's schema.
const envelopeTail = `,"version":1,"field":"source"},` +
	`{"type":"struct","fields":[` +
	`{"type":"string","optional":false,"field":"id"},` +
	`{"type":"int64","optional":false,"field":"total_order"},` +
	`{"type":"int64","optional":false,"field":"data_collection_order"}],` +
	`"optional":true,"name":"event.block","version":1,"field":"transaction"},` +
	`{"type":"string","optional":false,"field":"op"},` +
	`{"type":"int64","optional":true,"field":"ts_ms"},` +
	`{"type":"int64","optional":true,"field":"ts_us"},` +
	`{"type":"int64","optional":true,"field":"ts_ns"}],"optional":false,"name":`

// appendEnvelope appends the schema of a body.
func (f *Format) appendEnvelope(dst []byte, s *sdk.Schema, types []connectType, prefix string) []byte {
	topic := topicOf(prefix, s)
	dst = append(dst, `{"type":"struct","fields":[`...)
	dst = append(appendRowSchema(dst, s, types, topic+".Value", "before"), ',')
	dst = append(appendRowSchema(dst, s, types, topic+".Value", "after"), ',')
	dst = jsontext.AppendText(append(dst, sourceSchema...), "io.debezium.connector."+f.cfg.Connector+".Source")
	dst = jsontext.AppendText(append(dst, envelopeTail...), topic+".Envelope")
	return append(dst, `,"version":2}`...)
}

// appendKeySchema appends the schema of a key.
func appendKeySchema(dst []byte, s *sdk.Schema, types []connectType, prefix string) []byte {
	dst = append(dst, `{"type":"struct","fields":[`...)
	for i, c := range s.Key {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = types[c].append(dst, s.Columns[c].Name, s.Columns[c].Nullable)
	}
	dst = jsontext.AppendText(append(dst, `],"optional":false,"name":`...), topicOf(prefix, s)+".Key")
	return append(dst, '}')
}

// topicOf returns the name of the Kafka topic that Debezium would write to, from
// which it makes the names of schemas: what a topic can't have becomes _.
func topicOf(prefix string, s *sdk.Schema) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, prefix+"."+s.DB+"."+s.Table)
}
