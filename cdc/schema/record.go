package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/sdk"
)

// Record is what is known of one table, or of one database (without Table), from
// a position on: the form in which a History lasts.
type Record struct {
	DB         string       `json:"db"`
	Table      string       `json:"table,omitempty"`
	Definition *Table       `json:"definition,omitempty"`
	Absent     bool         `json:"absent,omitempty"`
	Read       sdk.Position `json:"read,omitempty"`
	Used       bool         `json:"used,omitempty"`
	Database   *database    `json:"database,omitempty"`

	read *position.Position
}

func (r *Record) set(f Fact) {
	r.Definition, r.Absent, r.Used = f.Table, f.Absent, f.Used
	if f.Read != nil {
		r.Read, r.read = f.Read.Encode(), f.Read
	}
}

// ErrRecord is wrapped by the errors of Decode.
var ErrRecord = errors.New("not a record of a table's history")

// Encode returns the record as JSON text.
func (r *Record) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode reads what Encode wrote. The error wraps ErrRecord.
func Decode(text []byte) (*Record, error) {
	r := &Record{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if r.DB == "" || (r.Table == "") != (r.Database != nil) || r.Absent && r.Definition != nil {
		return nil, fmt.Errorf("%w: %.100q", ErrRecord, text)
	}
	if r.Read != "" {
		var err error
		if r.read, err = position.Decode(r.Read); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRecord, err)
		}
	}
	return r, nil
}

// Restore takes over a record of an earlier run. Records come in the order of
// their positions, all of them in front of the place where reading begins.
func (h *History) Restore(r *Record) {
	if r.Database != nil {
		h.dbs[r.DB] = *r.Database
		return
	}
	h.tables[tables.Name{DB: r.DB, Table: r.Table}] = Fact{Table: r.Definition, Absent: r.Absent, Used: r.Used, Read: r.read}
}
