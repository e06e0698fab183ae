package canal

import (
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// Config is what stands under `canal:` in the configuration.
type Config struct {
	Labels bool `yaml:"labels" doc:"ENUM and SET as their labels, not as the numbers that the server keeps"`
}

// Kind returns the format's entry for the list of formats.
func Kind() format.Kind {
	return format.Kind{
		Name:      "canal",
		NewConfig: func() any { return &Config{} },
		New: func(config any) format.Format {
			if config == nil {
				return New(Config{})
			}
			return New(*config.(*Config))
		},
	}
}

// Format renders rows; see the package comment. It implements format.Format
// and format.Keyer.
type Format struct {
	cfg    Config
	tables []*table // by schema id
}

// New returns a Format.
func New(cfg Config) *Format { return &Format{cfg: cfg} }

// table holds what is the same for all rows of one schema.
type table struct {
	schema  *sdk.Schema
	columns []column

	database []byte // `,"database":…,"es":`
	types    []byte // `,"isDdl":false,"mysqlType":{…},"old":`
	keys     []byte // `,"pkNames":[…],"sql":"","sqlType":{`
	table    []byte // `},"table":…,"ts":`
	truncate []byte // what a truncation has between id and ts
}

func (f *Format) table(s *sdk.Schema) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s {
		return t
	}
	t := &table{schema: s, columns: make([]column, len(s.Columns))}
	t.types = append(t.types, `,"isDdl":false,"mysqlType":{`...)
	for i := range s.Columns {
		t.columns[i] = columnOf(&s.Columns[i], f.cfg.Labels)
		if i > 0 {
			t.types = append(t.types, ',')
		}
		t.types = jsontext.AppendText(append(t.types, t.columns[i].name...), s.Columns[i].Native)
	}
	t.types = append(t.types, `},"old":`...)
	t.database = append(jsontext.AppendText([]byte(`,"database":`), s.DB), `,"es":`...)
	t.keys = append(t.keys, `,"pkNames":`...)
	for i, k := range s.Key {
		t.keys = jsontext.AppendText(append(t.keys, "[,"[min(i, 1)]), s.Columns[k].Name)
	}
	if len(s.Key) > 0 {
		t.keys = append(t.keys, ']')
	} else {
		t.keys = append(t.keys, "null"...)
	}
	t.keys = append(t.keys, `,"sql":"","sqlType":{`...)
	t.table = append(jsontext.AppendText([]byte(`},"table":`), s.Table), `,"ts":`...)
	t.truncate = jsontext.AppendText([]byte(`,"isDdl":true,"mysqlType":null,"old":null,"pkNames":null,"sql":`), "TRUNCATE TABLE `"+strings.ReplaceAll(s.Table, "`", "``")+"`")
	t.truncate = append(jsontext.AppendText(append(t.truncate, `,"sqlType":null,"table":`...), s.Table), `,"ts":`...)
	f.tables[s.ID] = t
	return t
}

// AppendRow appends the body of one row's message to dst.
func (f *Format) AppendRow(dst []byte, r sdk.Row, _ format.Context) []byte {
	t, tx := f.table(r.Schema()), r.Tx()
	data, kind := r.After(), "INSERT"
	switch r.Op() {
	case sdk.OpUpdate:
		kind = "UPDATE"
	case sdk.OpDelete:
		data, kind = r.Before(), "DELETE"
	case sdk.OpTruncate:
		kind = "TRUNCATE"
	}
	dst = append(dst, `{"data":`...)
	if data.Valid() {
		dst = append(t.appendRow(append(dst, '['), data), ']')
	} else {
		dst = append(dst, "null"...)
	}
	dst = strconv.AppendInt(append(dst, t.database...), millis(tx.Time()), 10)
	dst = jsontext.AppendText(append(dst, `,"gtid":`...), format.GTID(tx))
	dst = strconv.AppendUint(append(dst, `,"id":`...), r.Ordinal()+1, 10)
	if data.Valid() {
		dst = t.appendOld(append(dst, t.types...), r)
		dst = t.appendSQLTypes(append(dst, t.keys...), data)
		dst = append(dst, t.table...)
	} else {
		dst = append(dst, t.truncate...)
	}
	dst = strconv.AppendInt(dst, millis(tx.Time()), 10)
	return append(append(append(dst, `,"type":"`...), kind...), '"', '}')
}

// AppendImage implements format.Imager: the row's object in the field data.
func (f *Format) AppendImage(dst []byte, r sdk.Row, m sdk.Image, _ format.Context) []byte {
	return f.table(r.Schema()).appendRow(dst, m)
}

// millis returns microseconds since the Unix epoch in milliseconds.
func millis(micros int64) int64 { return micros / 1000 }

func (t *table) appendRow(dst []byte, m sdk.Image) []byte {
	dst = append(dst, '{')
	for c, first := 0, true; c < len(t.columns); c++ {
		if m.IsAbsent(c) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = t.columns[c].append(append(dst, t.columns[c].name...), m, c)
	}
	return append(dst, '}')
}

// appendOld appends what the columns that an update changed had before.
func (t *table) appendOld(dst []byte, r sdk.Row) []byte {
	start, before, after := len(dst), r.Before(), r.After()
	for c := range t.columns {
		if !before.Valid() || !after.Valid() || before.IsAbsent(c) || after.IsAbsent(c) || !r.Changed(c) {
			continue
		}
		if len(dst) == start {
			dst = append(dst, '[', '{')
		} else {
			dst = append(dst, ',')
		}
		dst = t.columns[c].append(append(dst, t.columns[c].name...), before, c)
	}
	if len(dst) == start {
		return append(dst, "null"...)
	}
	return append(dst, '}', ']')
}

func (t *table) appendSQLTypes(dst []byte, m sdk.Image) []byte {
	for c, first := 0, true; c < len(t.columns); c++ {
		if m.IsAbsent(c) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = strconv.AppendInt(append(dst, t.columns[c].name...), int64(t.columns[c].sqlTypeOf(m, c)), 10)
	}
	return dst
}

// AppendKey appends the primary key as an object of strings: {"id":"7"}.
func (f *Format) AppendKey(dst []byte, r sdk.Row) []byte {
	t := f.table(r.Schema())
	before, after := r.Before(), r.After()
	if len(t.schema.Key) == 0 || !after.Valid() && !before.Valid() {
		return dst
	}
	start := len(dst)
	for i, c := range t.schema.Key {
		m := format.KeyImage(before, after, c)
		if m.IsAbsent(c) {
			return dst[:start]
		}
		dst = append(append(dst, "{,"[min(i, 1)]), t.columns[c].name...)
		dst = t.columns[c].append(dst, m, c)
	}
	return append(dst, '}')
}
