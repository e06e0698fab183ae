package runtime_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// fullTypes reads the statements that make and fill a table of all types, made
// by others for the tests of another program.
func fullTypes(t *testing.T) (create, insert string) {
	t.Helper()
	text, err := os.ReadFile("../../shared/corpus/types/column_type_test_mysql8.sql")
	if err != nil {
		skip.For(t, "the corpus of types: clone it beside the repository, as ../shared/corpus")
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	for _, s := range strings.Split(strings.Join(lines, ""), ";\n") {
		switch s = strings.ReplaceAll(strings.TrimSpace(s), "full_types", "shop.full_types"); {
		case strings.HasPrefix(s, "CREATE TABLE shop.full_types"):
			create = s
		case strings.HasPrefix(s, "INSERT INTO shop.full_types"):
			insert = s
		}
	}
	if create == "" || insert == "" {
		t.Fatal("the corpus of types has no table full_types")
	}
	return create, insert
}

// unscaled is Kafka Connect's Decimal of a number.
func unscaled(t *testing.T, digits string) string {
	t.Helper()
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		t.Fatal(digits)
	}
	b := n.Bytes()
	if b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// A real server's table of all types, in the format debezium: what its
// documentation says of each type, and the name of its schema.
func TestDebeziumOfAServer(t *testing.T) {
	create, insert := fullTypes(t)
	db, ns := testserver.MySQL(t), testserver.NATS(t)
	db.Exec(t, "CREATE DATABASE shop", create, insert, "UPDATE shop.full_types SET id = 2", "DELETE FROM shop.full_types", "TRUNCATE shop.full_types")
	run(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.full_types]}}
    sink: {jetstream: {stream: SHOP, format: {debezium: {schemas: true}}}}
state: {dir: %s}
nats: {url: %q}
`, db.DSN(), t.TempDir(), ns.URL()), pipeline.CaughtUp)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	messages := readFrom(ctx, t, ns.Conn(t))
	ops := ""
	for _, m := range messages {
		var body struct{ Payload struct{ Op string } }
		if len(m.Data) == 0 {
			ops += "-"
			continue
		}
		decode(t, m.Data, &body)
		ops += body.Payload.Op
	}
	if ops != "cd-cd-" {
		t.Fatalf("operations %q: want an insert, a change of key, a delete, and no truncate", ops)
	}
	oldkey, newkey := messages[3].Header["__debezium.oldkey"], messages[1].Header["__debezium.newkey"]
	if len(oldkey) != 1 || oldkey[0] != messages[1].Header.Get("Cdc-Key") || len(newkey) != 1 || newkey[0] != messages[3].Header.Get("Cdc-Key") {
		t.Errorf("old key %q, new key %q", oldkey, newkey)
	}
	var body struct {
		Schema struct {
			Fields []struct {
				Fields []struct{ Field, Type, Name string }
			}
		}
		Payload struct{ After map[string]any }
	}
	d := json.NewDecoder(bytes.NewReader(messages[0].Data))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, f := range body.Schema.Fields[1].Fields {
		types[f.Field] = strings.TrimSpace(f.Type + " " + f.Name)
	}
	const decimal = "bytes org.apache.kafka.connect.data.Decimal"
	for _, c := range []struct{ column, typ, value string }{
		{"id", "int64", "1"}, {"tiny_c", "int16", "127"}, {"tiny_un_c", "int16", "255"}, {"tiny_un_z_c", "int16", "255"}, {"small_c", "int16", "32767"},
		{"small_un_c", "int32", "65535"}, {"small_un_z_c", "int32", "65535"}, {"medium_c", "int32", "8388607"}, {"medium_un_c", "int32", "16777215"},
		{"medium_un_z_c", "int32", "16777215"}, {"int_c", "int32", "2147483647"}, {"int_un_c", "int64", "4294967295"}, {"int_un_z_c", "int64", "4294967295"},
		{"int11_c", "int32", "2147483647"}, {"big_c", "int64", "9223372036854775807"}, {"big_un_c", "int64", "-1"}, {"big_un_z_c", "int64", "-1"},
		{"varchar_c", "string", "Hello World"}, {"char_c", "string", "abc"}, {"real_c", "double", "123.102"}, {"float_c", "float", "123.102"},
		{"float_un_c", "float", "123.103"}, {"float_un_z_c", "float", "123.104"}, {"double_c", "double", "404.4443"}, {"double_un_c", "double", "404.4444"},
		{"double_un_z_c", "double", "404.4445"}, {"decimal_c", decimal, unscaled(t, "1234567")}, {"decimal_un_c", decimal, unscaled(t, "1234568")},
		{"decimal_un_z_c", decimal, unscaled(t, "1234569")}, {"numeric_c", decimal, unscaled(t, "346")}, {"big_decimal_c", decimal, unscaled(t, "345678921")},
		{"bit1_c", "boolean", "false"}, {"tiny1_c", "int16", "1"}, {"boolean_c", "int16", "1"}, {"date_c", "int32 io.debezium.time.Date", "18460"},
		{"time_c", "int64 io.debezium.time.MicroTime", "64822000000"}, {"datetime3_c", "int64 io.debezium.time.Timestamp", "1595008822123"},
		{"datetime6_c", "int64 io.debezium.time.MicroTimestamp", "1595008822123456"},
		{"timestamp_c", "string io.debezium.time.ZonedTimestamp", "2020-07-17T18:00:22Z"}, {"file_uuid", "bytes", "ZRrtCDkPSJOy8TaSPnt0AA=="},
		{"bit_c", "bytes io.debezium.data.Bits", "BAQEBAQEBAQ="}, {"text_c", "string", "text"}, {"tiny_blob_c", "bytes", "EA=="}, {"blob_c", "bytes", "EA=="},
		{"medium_blob_c", "bytes", "EA=="}, {"long_blob_c", "bytes", "EA=="}, {"year_c", "int32 io.debezium.time.Year", "2021"},
		{"enum_c", "string io.debezium.data.Enum", "red"}, {"set_c", "string io.debezium.data.EnumSet", "a,b"},
		{"json_c", "string io.debezium.data.Json", `{"key1":"value1"}`},
		{"point_c", "struct io.debezium.data.geometry.Point", "map[srid:<nil> wkb:AQEAAAAAAAAAAADwPwAAAAAAAPA/ x:1.0 y:1.0]"},
		{"linestring_c", "struct io.debezium.data.geometry.Geometry", ""}, {"geometry_c", "struct io.debezium.data.geometry.Geometry", ""},
		{"geometrycollection_c", "struct io.debezium.data.geometry.Geometry", ""}, {"varchar_len0_c", "string", ""},
	} {
		if types[c.column] != c.typ {
			t.Errorf("%s is of type %q, want %q", c.column, types[c.column], c.typ)
		}
		if got := fmt.Sprint(body.Payload.After[c.column]); c.value != "" && got != c.value {
			t.Errorf("%s is %s, want %s", c.column, got, c.value)
		}
	}
}
