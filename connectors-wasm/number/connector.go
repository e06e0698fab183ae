package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/kv"
)

// config is what `with:` says.
type config struct {
	Header string   `json:"header"`
	By     []string `json:"by"` // columns, or db.table.column
}

type number struct {
	config config
	tables []table // by schema id
	key    []byte  // of a row, reused
	header []byte  // its header, reused
}

// table is what identifies a table's rows.
type table struct {
	name string
	by   []column
}

type column struct {
	index int
	def   *sdk.Column
}

// Init reads the configuration.
func (n *number) Init(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	n.config = config{Header: "Row-Change"}
	if err := d.Decode(&n.config); err != nil {
		return fmt.Errorf("`with` is not understood: %v; write {header: Row-Change, by: [customer_id]}", err)
	}
	name := strings.ToLower(n.config.Header)
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || name == "" ||
		strings.HasPrefix(name, "cdc-") || strings.HasPrefix(name, "nats-") {
		return fmt.Errorf("header: %q can't be one; use letters, digits and dashes, and neither Cdc- nor Nats- at its beginning", n.config.Header)
	}
	return nil
}

// Schema finds the columns that identify a row: those of `by`, otherwise the key.
func (n *number) Schema(in *sdk.Schema) (*sdk.Schema, error) {
	t := table{name: in.FullName()}
	for i := range in.Columns {
		c := &in.Columns[i]
		named := slices.Contains(n.config.By, c.Name) || slices.Contains(n.config.By, in.FullName()+"."+c.Name)
		if named || len(n.config.By) == 0 && slices.Contains(in.Key, i) {
			t.by = append(t.by, column{i, c})
		}
	}
	if len(t.by) == 0 {
		if len(n.config.By) == 0 {
			return nil, fmt.Errorf("%s has no primary key; name columns with by, or leave the table out with only", in.FullName())
		}
		return nil, fmt.Errorf("%s has none of the columns %v; leave the table out with only", in.FullName(), n.config.By)
	}
	for len(n.tables) <= int(in.ID) {
		n.tables = append(n.tables, table{})
	}
	n.tables[in.ID] = t
	return nil, nil
}

// Row gives the row its number.
func (n *number) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
	image := r.After()
	if !image.Valid() {
		image = r.Before()
	}
	if err := n.keyOf(&n.tables[r.SchemaID()], image); err != nil {
		return 0, err
	}
	old, _, err := kv.Get(n.key)
	if err != nil {
		return 0, err
	}
	count := uint64(1)
	if len(old) == 8 {
		count += binary.LittleEndian.Uint64(old)
	}
	var value [8]byte
	binary.LittleEndian.PutUint64(value[:], count)
	if err := kv.Put(n.key, value[:]); err != nil {
		return 0, err
	}
	subject, key, headers := r.Dest() // an earlier step's wishes stay
	n.header = append(n.header[:0], headers...)
	n.header = append(append(n.header, n.config.Header...), ": "...)
	n.header = append(strconv.AppendUint(n.header, count, 10), '\n')
	out.Route(r, subject, key, n.header)
	return sdk.VerdictReplaced, nil
}

// keyOf makes the key of a row's counter: the table and the values, each behind
// its length; their hash where that is too long.
func (n *number) keyOf(t *table, image sdk.Image) error {
	n.key = append(append(n.key[:0], t.name...), 0)
	for _, c := range t.by {
		if image.IsAbsent(c.index) {
			return fmt.Errorf("the log does not tell %s of this row, by which it is to be numbered", c.def.Name)
		}
		if image.IsNull(c.index) {
			n.key = append(n.key, 0xff)
			continue
		}
		if !c.def.Type.Inline() {
			if _, size, large := image.IsLarge(c.index); large {
				return fmt.Errorf("%s has a value of %d bytes, too large to number rows by", c.def.Name, size)
			}
		}
		at := len(n.key)
		n.key = append(n.key, 0, 0, 0, 0)
		n.key = image.AppendText(n.key, c.def, c.index)
		binary.BigEndian.PutUint32(n.key[at:], uint32(len(n.key)-at-4))
	}
	if len(n.key) > sdk.KVKeyBytesMax {
		sum := sha256.Sum256(n.key)
		n.key = append(append(append(n.key[:0], t.name...), 1), sum[:]...)
	}
	return nil
}

// A module built with -buildmode=c-shared never runs main: see package guest.
var _ = guest.Register(&number{})

func main() {}
