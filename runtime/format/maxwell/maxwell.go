package maxwell

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/jsontext"
	"github.com/cdcd-io/cdcd/sdk"
)

// Config is what stands under `maxwell:` in the configuration. The keys are
// options of Maxwell's, with their defaults.
type Config struct {
	CommitInfo        bool `yaml:"output_commit_info" doc:"xid, and commit on a transaction's last row"`
	XOffset           bool `yaml:"output_xoffset" doc:"xoffset, the row's number in its transaction, on all rows but the last"`
	Nulls             bool `yaml:"output_nulls" doc:"columns that are NULL"`
	BinlogPosition    bool `yaml:"output_binlog_position" doc:"position, where the transaction begins in the log"`
	GTIDPosition      bool `yaml:"output_gtid_position" doc:"gtid, the transaction's"`
	ServerID          bool `yaml:"output_server_id" doc:"server_id"`
	PrimaryKeys       bool `yaml:"output_primary_keys" doc:"primary_key, the values of the key"`
	PrimaryKeyColumns bool `yaml:"output_primary_key_columns" doc:"primary_key_columns, the names of the key's columns"`
}

// Kind returns the format's entry for the list of formats.
func Kind() format.Kind {
	return format.Kind{
		Name:      "maxwell",
		NewConfig: func() any { return NewConfig() },
		New: func(config any) format.Format {
			if config == nil {
				config = NewConfig()
			}
			return New(*config.(*Config))
		},
	}
}

// NewConfig returns the defaults.
func NewConfig() *Config { return &Config{CommitInfo: true, Nulls: true} }

// Format renders rows; see the package comment. It implements format.Format,
// format.Keyer and format.KeySender.
type Format struct {
	cfg    Config
	tables []*table // by schema id
}

// New returns a Format.
func New(cfg Config) *Format { return &Format{cfg: cfg} }

// table holds what is the same for all rows of one schema.
type table struct {
	schema  *sdk.Schema
	names   [][]byte // `"name":` of each column
	keys    [][]byte // `"pk.name":` of each column of the key
	head    []byte   // `{"database":…,"table":…,"type":"`
	keyHead []byte   // `{"database":…,"table":…` of a key
	pkCols  []byte   // `,"primary_key_columns":[…]`
}

func (f *Format) table(s *sdk.Schema) *table {
	for int(s.ID) >= len(f.tables) {
		f.tables = append(f.tables, nil)
	}
	// A step may change what a schema id stands for, so the pointer decides.
	if t := f.tables[s.ID]; t != nil && t.schema == s {
		return t
	}
	t := &table{schema: s, names: make([][]byte, len(s.Columns)), keys: make([][]byte, len(s.Key))}
	for i := range s.Columns {
		t.names[i] = append(jsontext.AppendText(nil, s.Columns[i].Name), ':')
	}
	t.pkCols = append(t.pkCols, `,"primary_key_columns":[`...)
	for i, k := range s.Key {
		t.keys[i] = append(jsontext.AppendText(nil, "pk."+strings.ToLower(s.Columns[k].Name)), ':')
		if i > 0 {
			t.pkCols = append(t.pkCols, ',')
		}
		t.pkCols = jsontext.AppendText(t.pkCols, s.Columns[k].Name)
	}
	t.pkCols = append(t.pkCols, ']')
	t.keyHead = jsontext.AppendText([]byte(`{"database":`), s.DB)
	t.keyHead = jsontext.AppendText(append(t.keyHead, `,"table":`...), s.Table)
	t.head = append(bytes.Clone(t.keyHead), `,"type":"`...)
	f.tables[s.ID] = t
	return t
}

// AppendRow appends the body of one row's message to dst.
func (f *Format) AppendRow(dst []byte, r sdk.Row, _ format.Context) []byte {
	t, tx := f.table(r.Schema()), r.Tx()
	data := r.After()
	if !data.Valid() {
		data = r.Before()
	}
	dst = append(append(dst, t.head...), kindOf(r.Op())...)
	dst = strconv.AppendInt(append(dst, `","ts":`...), tx.Time()/1e6, 10)
	dst = f.appendCommit(dst, r, tx)
	if f.cfg.BinlogPosition {
		dst = jsontext.AppendInner(append(dst, `,"position":"`...), tx.File())
		dst = append(strconv.AppendUint(append(dst, ':'), tx.PosStart(), 10), '"')
	}
	if id := format.GTID(tx); id != nil && f.cfg.GTIDPosition {
		dst = jsontext.AppendText(append(dst, `,"gtid":`...), id)
	}
	if f.cfg.ServerID {
		dst = strconv.AppendUint(append(dst, `,"server_id":`...), uint64(tx.Server()), 10)
	}
	if len(t.keys) > 0 && data.Valid() {
		dst = f.appendKeyFields(dst, t, r)
	}
	if data.Valid() {
		dst = f.appendData(append(dst, `,"data":{`...), t, data)
	}
	return append(t.appendOld(dst, r), '}')
}

// AppendImage implements format.Imager: the field data.
func (f *Format) AppendImage(dst []byte, r sdk.Row, m sdk.Image, _ format.Context) []byte {
	return f.appendData(append(dst, '{'), f.table(r.Schema()), m)
}

func kindOf(op sdk.Op) string {
	switch op {
	case sdk.OpUpdate:
		return "update"
	case sdk.OpDelete:
		return "delete"
	case sdk.OpRead:
		return "bootstrap-insert"
	case sdk.OpTruncate:
		return "table-truncate"
	}
	return "insert"
}

// appendCommit numbers the transaction and marks its last row. Where the
// transaction came in parts, the message tx_end is behind it instead.
func (f *Format) appendCommit(dst []byte, r sdk.Row, tx sdk.Tx) []byte {
	last := tx.Whole() && r.Ordinal()+1 == tx.RowsTotal()
	if f.cfg.CommitInfo {
		dst = strconv.AppendUint(append(dst, `,"xid":`...), xid(tx), 10)
		if f.cfg.XOffset && !last {
			dst = strconv.AppendUint(append(dst, `,"xoffset":`...), r.Ordinal(), 10)
		}
		if last {
			dst = append(dst, `,"commit":true`...)
		}
	}
	return dst
}

// xid returns a number for the transaction: that of its GTID, or where it begins
// in the log's file. The storage engine's own number is no part of a batch.
func xid(tx sdk.Tx) uint64 {
	id := format.GTID(tx)
	n, digits := uint64(0), 0
	for i := len(id) - 1; i >= 0 && id[i] >= '0' && id[i] <= '9' && digits < 19; i-- {
		digits++
	}
	for _, c := range id[len(id)-digits:] {
		n = n*10 + uint64(c-'0')
	}
	if digits == 0 {
		return tx.PosStart()
	}
	return n
}

func (f *Format) appendData(dst []byte, t *table, m sdk.Image) []byte {
	first := true
	for c := range t.names {
		if m.IsAbsent(c) || m.IsNull(c) && !f.cfg.Nulls {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendValue(append(dst, t.names[c]...), m, c, &t.schema.Columns[c])
	}
	return append(dst, '}')
}

// appendOld appends what the columns that an update changed had before.
func (t *table) appendOld(dst []byte, r sdk.Row) []byte {
	before, after := r.Before(), r.After()
	if !before.Valid() || !after.Valid() {
		return dst
	}
	start := len(dst)
	for c := range t.names {
		if before.IsAbsent(c) || after.IsAbsent(c) || !r.Changed(c) {
			continue
		}
		if len(dst) == start {
			dst = append(dst, `,"old":{`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendValue(append(dst, t.names[c]...), before, c, &t.schema.Columns[c])
	}
	if len(dst) > start {
		dst = append(dst, '}')
	}
	return dst
}

// appendKeyFields appends the fields that tell the key's values and names.
func (f *Format) appendKeyFields(dst []byte, t *table, r sdk.Row) []byte {
	if f.cfg.PrimaryKeys {
		start := len(dst)
		dst = append(dst, `,"primary_key":[`...)
		for i, c := range t.schema.Key {
			m := format.KeyImage(r.Before(), r.After(), c)
			if m.IsAbsent(c) {
				dst = dst[:start]
				break
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, m, c, &t.schema.Columns[c])
		}
		if len(dst) > start {
			dst = append(dst, ']')
		}
	}
	if f.cfg.PrimaryKeyColumns {
		dst = append(dst, t.pkCols...)
	}
	return dst
}

// SendsKey implements format.KeySender.
func (f *Format) SendsKey() bool { return true }

// AppendKey appends the key of Maxwell's Kafka messages:
// {"database":"shop","table":"orders","pk.id":7}.
func (f *Format) AppendKey(dst []byte, r sdk.Row) []byte {
	t := f.table(r.Schema())
	before, after := r.Before(), r.After()
	if len(t.schema.Key) == 0 || !after.Valid() && !before.Valid() {
		return dst
	}
	start := len(dst)
	dst = append(dst, t.keyHead...)
	for i, c := range t.schema.Key {
		m := format.KeyImage(before, after, c)
		if m.IsAbsent(c) {
			return dst[:start]
		}
		dst = appendValue(append(append(dst, ','), t.keys[i]...), m, c, &t.schema.Columns[c])
	}
	return append(dst, '}')
}
