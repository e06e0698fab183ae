package main

import (
	"encoding/binary"
	"errors"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/sdk"
)

// decoder is cdcd's decoder as the source uses it: rows go into batches of
// whole transactions, up to the bounds of the contract.
type decoder struct {
	parser  *binlog.Parser
	plans   map[*binlog.TableMap]*binlog.RowPlan
	schemas []*sdk.Schema // by id
	batch   sdk.Builder
	open    bool // a transaction is
	ordinal uint64
	rows    int
	sealed  func(*sdk.Batch) error // gets each batch; a view
}

// errEnough ends decoding from within.
var errEnough = errors.New("enough")

func newDecoder() *decoder {
	d := &decoder{
		parser:  binlog.NewParser(binlog.Options{Flavor: binlog.FlavorMySQL}),
		plans:   map[*binlog.TableMap]*binlog.RowPlan{},
		schemas: make([]*sdk.Schema, 1),
		sealed:  func(*sdk.Batch) error { return nil },
	}
	d.batch.Reset()
	return d
}

func decodeOurs(file []byte) (rows int, err error) {
	d := newDecoder()
	err = d.file(file)
	return d.rows, err
}

// file decodes all events of a log file.
func (d *decoder) file(log []byte) error {
	for at := 4; at+binlog.HeaderSize <= len(log); {
		size := int(binary.LittleEndian.Uint32(log[at+9:]))
		if err := d.event(log[at : at+size]); err != nil {
			return err
		}
		at += size
	}
	return nil
}

func (d *decoder) event(raw []byte) error {
	e, err := d.parser.Parse(raw)
	if err != nil {
		return err
	}
	switch {
	case e.Type == binlog.TableMapEvent:
		return d.tableMap(e)
	case e.Type.IsRows():
		return d.rowsEvent(e)
	case e.Type == binlog.XIDEvent && d.open:
		d.batch.EndTx(uint64(e.LogPos), 0)
		d.open, d.ordinal = false, 0
		if d.batch.Rows() >= cdc.BatchRowsMax || d.batch.Size() >= cdc.BatchBytesMax {
			err := d.sealed(d.batch.Seal(d.schemas))
			d.batch.Reset()
			return err
		}
	}
	return nil
}

func (d *decoder) tableMap(e binlog.Event) error {
	t, err := d.parser.TableMap(e)
	if err != nil || d.plans[t] != nil {
		return err
	}
	schema, plan, err := binlog.BuildSchema(t, nil)
	if err != nil {
		return err
	}
	schema.ID = uint32(len(d.schemas))
	d.schemas = append(d.schemas, schema)
	d.plans[t] = plan
	return nil
}

func (d *decoder) rowsEvent(e binlog.Event) error {
	h, data, err := d.parser.RowsHeader(e)
	if err != nil {
		return err
	}
	if data, err = d.parser.Expand(&h, data); err != nil {
		return err
	}
	if !d.open {
		d.batch.BeginTx(sdk.TxInfo{ID: []byte("binlog:4"), File: []byte("binlog"), Time: int64(e.Timestamp) * 1e6, Server: e.ServerID})
		d.open = true
	}
	rows, err := d.plans[d.parser.Table(h.TableID)].Rows(h, data)
	if err != nil {
		return err
	}
	for rows.More() {
		if _, err := rows.Next(&d.batch, d.ordinal); err != nil {
			return err
		}
		d.ordinal++
		d.rows++
	}
	return nil
}
