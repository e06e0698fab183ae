package cloudevents

import (
	"strconv"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/debezium"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// Config is what stands under `cloudevents:` in the configuration.
type Config struct {
	Data     string          `yaml:"data" doc:"format of the field data: json or debezium"`
	Debezium debezium.Config `yaml:"debezium"`
}

// NewConfig returns the defaults.
func NewConfig() *Config { return &Config{Data: "json", Debezium: *debezium.NewConfig()} }

// CodeConfig is the code of what is wrong with a Config.
const CodeConfig = "format_cloudevents"

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() []*fault.Fault {
	var faults []*fault.Fault
	if c.Data != "json" && c.Data != "debezium" {
		faults = append(faults, fault.New(fault.Config, CodeConfig, "data", "write json or debezium", "%q is unknown here", c.Data))
	}
	for _, f := range c.Debezium.Validate() {
		inner := *f
		inner.Path = "debezium." + f.Path
		faults = append(faults, &inner)
	}
	return faults
}

// Kind returns the format's entry for the list of formats.
func Kind() format.Kind {
	return format.Kind{
		Name:      "cloudevents",
		NewConfig: func() any { return NewConfig() },
		New: func(config any) format.Format {
			if config == nil {
				config = NewConfig()
			}
			return New(*config.(*Config))
		},
	}
}

// Format renders rows; see the package comment. It implements format.Format,
// format.Parted and format.KeySender.
type Format struct {
	cfg    Config
	json   *json.Format
	dbz    *debezium.Format // nil without
	tables []*table         // by schema id
	key    []byte           // of the message being rendered
}

// New returns a Format.
func New(cfg Config) *Format {
	f := &Format{cfg: cfg, json: json.New()}
	if cfg.Data == "debezium" {
		f.dbz = debezium.New(cfg.Debezium)
	}
	return f
}

// table holds what is the same for all rows of one schema.
type table struct {
	schema   *sdk.Schema
	pipeline string
	source   []byte // `","source":…,"type":"…`
	subject  []byte // `","subject":…,"time":"`
}

func (f *Format) table(s *sdk.Schema, c format.Context) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s && t.pipeline == c.Pipeline {
		return t
	}
	t := &table{schema: s, pipeline: c.Pipeline}
	source, kind := "/cdcd/"+c.Pipeline, "io.cdcd.row."
	if f.dbz != nil {
		prefix := f.cfg.Debezium.TopicPrefix
		if prefix == "" {
			prefix = c.Pipeline
		}
		source = "/debezium/" + f.cfg.Debezium.Connector + "/" + prefix
		kind = "io.debezium.connector." + f.cfg.Debezium.Connector + ".DataChangeEvent"
	}
	t.source = jsontext.AppendText([]byte(`","source":`), source)
	t.source = jsontext.AppendInner(append(t.source, `,"type":"`...), kind)
	t.subject = jsontext.AppendText([]byte(`","subject":`), s.FullName())
	t.subject = append(t.subject, `,"time":"`...)
	f.tables[s.ID] = t
	return t
}

// AppendRow appends the body of the row's first message.
func (f *Format) AppendRow(dst []byte, r sdk.Row, c format.Context) []byte {
	return f.AppendPart(dst, r, c, 0)
}

// Parts implements format.Parted.
func (f *Format) Parts(r sdk.Row) int {
	if f.dbz != nil {
		return f.dbz.Parts(r)
	}
	return 1
}

// AppendPart implements format.Parted. A tombstone stays one: it has no envelope.
func (f *Format) AppendPart(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	start := len(dst)
	t, tx := f.table(r.Schema(), c), r.Tx()
	dst = jsontext.AppendInner(append(dst, `{"specversion":"1.0","id":"`...), tx.ID())
	dst = strconv.AppendUint(append(dst, '#'), r.Ordinal(), 10)
	dst = strconv.AppendUint(append(dst, '.'), uint64(c.Part), 10)
	dst = append(dst, t.source...)
	if f.dbz == nil {
		dst = append(dst, kindOf(r.Op())...)
	}
	dst = append(dst, t.subject...)
	dst = jsontext.AppendDateTime(dst, jsontext.Civil(tx.Time()), 6)
	dst = append(dst, `Z","datacontenttype":"application/json"`...)
	f.key = f.AppendPartKey(f.key[:0], r, c, i)
	if len(f.key) > 0 {
		dst = jsontext.AppendText(append(dst, `,"partitionkey":`...), f.key)
	}
	if f.dbz == nil {
		return append(f.json.AppendRow(append(dst, `,"data":`...), r, c), '}')
	}
	dst = f.dbz.AppendAttributes(dst, r, c, i)
	data := append(dst, `,"data":`...)
	body := f.dbz.AppendPart(data, r, c, i)
	if len(body) == len(data) {
		return dst[:start]
	}
	return append(body, '}')
}

func kindOf(op sdk.Op) string {
	switch op {
	case sdk.OpUpdate:
		return "update"
	case sdk.OpDelete:
		return "delete"
	case sdk.OpRead:
		return "read"
	case sdk.OpTruncate:
		return "truncate"
	}
	return "insert"
}

// SendsKey implements format.KeySender.
func (f *Format) SendsKey() bool { return true }

// AppendPartKey implements format.Parted.
func (f *Format) AppendPartKey(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	if f.dbz != nil {
		return f.dbz.AppendPartKey(dst, r, c, i)
	}
	return f.json.AppendKey(dst, r)
}

// AppendPartHeaders implements format.Parted.
func (f *Format) AppendPartHeaders(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	if f.dbz != nil {
		return f.dbz.AppendPartHeaders(dst, r, c, i)
	}
	return dst
}
