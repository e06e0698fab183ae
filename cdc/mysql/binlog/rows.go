package binlog

import (
	"errors"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// DummyTableID is the id of a rows event without rows, which only ends a
// statement.
const DummyTableID = 0xffffff

// FlagStatementEnd in RowsHeader.Flags: the statement's last rows event.
const FlagStatementEnd uint16 = 1

// RowsHeader is what a rows event says before its rows. Bitmaps are views of
// the event, one bit for each column, the lowest first.
type RowsHeader struct {
	TableID    uint64
	Flags      uint16
	Op         sdk.Op // OpInsert, OpUpdate, OpDelete
	Width      int    // columns of the table
	Before     []byte // which columns the images before the change have; nil without
	After      []byte // which columns the images after the change have; nil without
	Compressed bool   // the rows must go through Expand first
	bytesMax   int    // of a value that is expanded
	Partial    bool   // images after the change may have parts of JSON documents
	place      Header
}

// StatementEnd reports whether the event ends its statement.
func (h *RowsHeader) StatementEnd() bool { return h.Flags&FlagStatementEnd != 0 }

// RowsTable returns the id of the table whose rows the event holds: all that it
// takes to pass over a table that is not followed. Faults: binlog_corrupt.
func (p *Parser) RowsTable(ev Event) (uint64, error) { return p.tableID(ev) }

// RowsHeader splits a rows event into its header and its rows. Faults:
// binlog_corrupt, binlog_unsupported.
func (p *Parser) RowsHeader(ev Event) (RowsHeader, []byte, error) {
	h := RowsHeader{place: ev.Header, bytesMax: p.opt.EventBytesMax}
	id, err := p.tableID(ev)
	if err != nil {
		return h, nil, err
	}
	h.TableID = id
	version, ok := h.kind(ev.Type)
	if !ok {
		return h, nil, unsupported(ev.place(), "read logs of MySQL 5.1 and later, or MariaDB",
			"%s is not a rows event that can be read", ev.Type)
	}
	c := cursor{p: ev.Body}
	if p.format.postHeader(ev.Type) == 6 {
		c.take(4)
	} else {
		c.take(6)
	}
	h.Flags = c.u16()
	if version == 2 {
		c.take(int(c.u16()) - 2) // extra data: NDB's and partitions' own
	}
	h.Width = int(min(c.packed(), columnsMax+1))
	bitmap := c.take((h.Width + 7) / 8)
	switch h.Op {
	case sdk.OpInsert:
		h.After = bitmap
	case sdk.OpDelete:
		h.Before = bitmap
	case sdk.OpUpdate:
		h.Before, h.After = bitmap, c.take(len(bitmap))
	}
	if c.bad || h.Width > columnsMax {
		return h, nil, corrupt(ev.place(), "a rows event of %d bytes ends inside its header", len(ev.Body))
	}
	return h, c.p, nil
}

// kind sets what the event's type says, and returns its version.
func (h *RowsHeader) kind(t EventType) (version int, ok bool) {
	if t == PartialUpdateRowsEvent {
		h.Op, h.Partial = sdk.OpUpdate, true
		return 2, true
	}
	ops := [...]sdk.Op{sdk.OpInsert, sdk.OpUpdate, sdk.OpDelete}
	for _, r := range [...]struct {
		first      EventType
		version    int
		compressed bool
	}{
		{WriteRowsEvent, 2, false},
		{WriteRowsV1Event, 1, false},
		{MariaWriteRowsCompressedV1, 1, true},
		{MariaWriteRowsCompressedEvent, 2, true},
	} {
		if t >= r.first && t < r.first+3 {
			h.Op, h.Compressed = ops[t-r.first], r.compressed
			return r.version, true
		}
	}
	return 0, false
}

// Expand returns the rows of an event: the data itself, or what MariaDB had
// compressed, which is good until the parser's next event. Faults:
// binlog_corrupt, event_too_large.
func (p *Parser) Expand(h *RowsHeader, data []byte) ([]byte, error) {
	if !h.Compressed {
		return data, nil
	}
	out, err := p.inflate(h.place, data)
	if err == nil {
		h.Compressed = false
	}
	return out, err
}

// Rows reads the rows of one event, one at a time, each into whatever builder it
// is given. The zero Rows has none.
type Rows struct {
	plan  *RowPlan
	h     RowsHeader
	data  []byte
	parts sdk.RowFlags
	// Whether the images have every column.
	fullBefore, fullAfter bool
	whole                 bool     // all images have, and none of their values is a difference
	docs                  [][]byte // of Partial events: the row's documents before the change, by column
}

// Rows begins to read an event's rows. Faults: binlog_corrupt when the event
// has another number of columns than the table, or images without any column.
func (pl *RowPlan) Rows(h RowsHeader, data []byte) (Rows, error) {
	r := Rows{plan: pl, h: h, data: data}
	if h.Compressed {
		return r, errors.New("binlog: rows must go through Parser.Expand before they are read")
	}
	if h.Width != len(pl.columns)+pl.hidden {
		return r, corrupt(h.place.place(), "table %s: rows of %d columns, the table map has %d",
			pl.table, h.Width, len(pl.columns)+pl.hidden)
	}
	pl.z.max = h.bytesMax
	if h.Before != nil {
		r.parts |= sdk.RowBefore
		r.fullBefore = fullBitmap(h.Before, h.Width)
	}
	if h.After != nil {
		r.parts |= sdk.RowAfter
		r.fullAfter = fullBitmap(h.After, h.Width)
	}
	r.whole = (h.Before == nil || r.fullBefore) && (h.After == nil || r.fullAfter) && !h.Partial
	if h.Partial {
		r.docs = make([][]byte, len(pl.columns))
	}
	if len(data) == 0 && h.Width > 0 {
		return r, fault.New(fault.Fatal, CodeUnsupported, h.place.place(),
			"SET GLOBAL binlog_row_image=FULL on the server",
			"table %s: rows without any column: their number is not in the log", pl.table)
	}
	return r, nil
}

// fullBitmap reports whether the first n bits are all set.
func fullBitmap(p []byte, n int) bool {
	for i := range n / 8 {
		if p[i] != 0xff {
			return false
		}
	}
	return n%8 == 0 || p[n/8]|0xff<<(n%8) == 0xff
}

// More reports whether Next has a row.
func (r *Rows) More() bool { return len(r.data) > 0 }

// Next decodes the next row into b, in the transaction that is open there, under
// the schema that the plan was built with; false says that there was none.
// Columns that the log leaves out stay absent. After an error, builder and
// reader are in the middle of a row: drop the transaction (sdk.Builder.DropTx) or
// reset the builder, and read on from the next event at best.
// Faults: value_undecodable, of class Poison, with the column as its path.
func (r *Rows) Next(b *sdk.Builder, ordinal uint64) (bool, error) {
	if len(r.data) == 0 {
		return false, nil
	}
	left := len(r.data)
	if r.whole {
		b.BeginWholeRow(r.plan.schema, r.h.Op, r.parts, ordinal)
	} else {
		b.BeginRow(r.plan.schema, r.h.Op, r.parts, ordinal)
	}
	if r.h.Partial {
		return r.nextPartial(b)
	}
	if r.parts&sdk.RowBefore != 0 {
		if err := r.image(b, b.Before(), r.h.Before, r.fullBefore); err != nil {
			return false, err
		}
	}
	if r.parts&sdk.RowAfter != 0 {
		if err := r.image(b, b.After(), r.h.After, r.fullAfter); err != nil {
			return false, err
		}
	}
	if len(r.data) == left {
		return false, corrupt(r.h.place.place(), "table %s: %d bytes behind rows without columns", r.plan.table, left)
	}
	b.EndRow()
	return true, nil
}

// image decodes the image at the beginning of the data.
func (r *Rows) image(b *sdk.Builder, m sdk.Image, present []byte, full bool) error {
	pl := r.plan
	n := len(pl.columns) + pl.hidden
	if !full {
		n = countBits(present, n)
	}
	nullBytes := (n + 7) / 8
	if nullBytes > len(r.data) {
		return pl.fault(r.h.place, 0, errShort)
	}
	nulls, p := r.data[:nullBytes], r.data[nullBytes:]
	k := 0
	for i := range pl.columns {
		if !full && present[i/8]>>(i%8)&1 == 0 {
			continue
		}
		null := nulls[k/8]>>(k%8)&1 != 0
		k++
		if null {
			m.SetNull(i)
			continue
		}
		c := &pl.columns[i]
		var used int
		var err error
		if c.kind < kindHeap {
			var slot uint64
			if slot, used, err = c.inline(p); err == nil {
				m.SetSlot(i, slot)
			}
		} else {
			used, err = c.heap(b, m, i, p)
		}
		if err != nil {
			return pl.fault(r.h.place, i, err)
		}
		p = p[used:]
	}
	for i := len(pl.columns); i < len(pl.columns)+pl.hidden; i++ {
		if !full && present[i/8]>>(i%8)&1 == 0 {
			continue
		}
		if nulls[k/8]>>(k%8)&1 == 0 {
			if len(p) < 8 {
				return pl.fault(r.h.place, i, errShort)
			}
			p = p[8:]
		}
		k++
	}
	r.data = p
	return nil
}

// countBits returns how many of the first n bits are set.
func countBits(p []byte, n int) (set int) {
	for i := range n {
		set += int(p[i/8] >> (i % 8) & 1)
	}
	return set
}

// fault says which column could not be read. Bytes that end too early are a
// broken log; a value that has no meaning is this row's.
func (pl *RowPlan) fault(h Header, column int, err error) error {
	place := pl.table
	if column < len(pl.schema.Columns) {
		place += "." + pl.schema.Columns[column].Name
	}
	if errors.Is(err, errShort) {
		return fault.New(fault.Fatal, CodeCorrupt, place, hintCorrupt, "%s: %w", h.place(), err)
	}
	if errors.Is(err, errColumnSize) {
		return fault.New(fault.Fatal, CodeTooLarge, place, "raise event_bytes_max, or leave the table out", "%s: %w", h.place(), err)
	}
	return fault.New(fault.Poison, CodeValue, place,
		"correct the value at the source, or leave the table or the position out", "%s: %w", h.place(), err)
}

// AppendRows decodes all rows of an event into one builder, with ordinals from
// the given one. perRow is called behind each row; its error ends the reading.
func (pl *RowPlan) AppendRows(b *sdk.Builder, h RowsHeader, data []byte, ordinal uint64, perRow func() error) (rows int, err error) {
	r, err := pl.Rows(h, data)
	if err != nil {
		return 0, err
	}
	for r.More() {
		if _, err := r.Next(b, ordinal+uint64(rows)); err != nil {
			return rows, err
		}
		rows++
		if perRow != nil {
			if err := perRow(); err != nil {
				return rows, err
			}
		}
	}
	return rows, nil
}
