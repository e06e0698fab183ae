package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/sdk"
)

// Range is what one chunk reads: the rows behind After and up to UpTo, in the
// table's order; empty keys are the table's ends. RowsMax and BytesMax bound it, and
// are at least one row; with a predicate, RowsMax bounds what is looked at.
type Range struct {
	After, UpTo       Key
	From              bool // the row at After is read too
	RowsMax, BytesMax int
}

// Done is what a chunk has read.
type Done struct {
	Last    Key // where the next chunk goes on; empty at the end
	Rows    int
	Scanned int // rows that were looked at: more than Rows with a predicate
	Bytes   int64
	Elapsed time.Duration
	End     bool // the range has no more rows
}

// Row is a row of a chunk, good until the function that it was given to returns.
type Row struct {
	r             *reader
	number, bytes int
}

// Bytes returns the size of the row as it came.
func (r *Row) Bytes() int { return r.bytes }

// Append adds the row to the transaction that is open in b, with Op OpRead, with
// the bytes that the log's row has. Fault: value_undecodable, of class Poison.
func (r *Row) Append(b *sdk.Builder, ordinal uint64) error {
	return r.r.whole.Append(b, sdk.OpRead, ordinal)
}

// AppendKey appends the row's key; nothing for a table without one. Fault:
// value_undecodable.
func (r *Row) AppendKey(dst Key) (Key, error) { return r.r.t.appendKey(dst, r.r.whole, true) }

// appendKey appends the key of the row that s has. In a result of the key alone
// the columns are at their places in the key.
func (t *Table) appendKey(dst Key, s *binlog.Selection, whole bool) (Key, error) {
	if len(t.key) == 0 {
		return dst, nil
	}
	dst = append(dst, t.stem...)
	for i := range t.key {
		k, at := &t.key[i], i
		if whole {
			at = k.at
		}
		var err error
		switch k.kind {
		case partDecimal, partText, partBytes, partWord:
			p := part{kind: k.kind}
			if p.text, err = s.Text(at); err == nil {
				dst = appendPart(dst, p)
			}
		default:
			var v uint64
			if v, err = s.Number(at); err == nil {
				dst = appendNumber(dst, k.kind, v)
			}
		}
		if err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// ErrEnough is what the taker of a chunk's rows returns with the last one that it
// takes.
var ErrEnough = errors.New("no more rows are taken")

// Chunk reads the next rows of a range and gives each to add. It ends where
// RowsMax or BytesMax is reached, behind the row for which add returns ErrEnough,
// where the range ends, or with another error of add, which it returns. A chunk that ends with an error is read again from its
// beginning, under new marks.
//
// Faults: snapshot_table_changed, snapshot_key_stale, snapshot_chunk_slow,
// snapshot_row_large, snapshot_no_key for a table without a key that has grown too
// large, snapshot_connection_lost and the others of an SQL statement.
func (c *Conn) Chunk(ctx context.Context, t *Table, r Range, add func(*Row) error) (done Done, err error) {
	if c.c == nil || !c.c.Good() {
		return done, c.lostOr(ctx, errors.New("the connection was lost: a chunk begins with its low mark"))
	}
	start := time.Now()
	defer func() { done.Elapsed = time.Since(start) }()
	in, err := t.span(r)
	if err != nil {
		return done, err
	}
	switch {
	case len(t.key) == 0:
		return c.unkeyed(ctx, t, r, add)
	case t.where != "":
		return c.filtered(ctx, t, r, in, add)
	}
	limit := max(1, r.RowsMax)
	done, cut, err := c.read(ctx, t, t.statement(in, limit), limit, r.BytesMax, add)
	done.Scanned, done.End = done.Rows, err == nil && !cut && done.Rows < limit
	return done, err
}

// span reads the keys of a range. Fault: snapshot_key_stale.
func (t *Table) span(r Range) (s span, err error) {
	s.from = r.From
	if len(r.After) > 0 {
		if s.after, err = t.decode(r.After); err != nil {
			return s, err
		}
	}
	if len(r.UpTo) > 0 {
		s.upTo, err = t.decode(r.UpTo)
	}
	return s, err
}

// filtered reads a chunk with a predicate, which may leave out nearly all: what
// is looked at is bounded first, by the key alone.
func (c *Conn) filtered(ctx context.Context, t *Table, r Range, in span, add func(*Row) error) (done Done, err error) {
	limit := max(1, r.RowsMax)
	last, err := c.boundary(ctx, t, in, limit)
	if err != nil {
		return done, err
	}
	if len(last) > 0 {
		if in.upTo, err = t.decode(last); err != nil {
			return done, err
		}
	}
	done, cut, err := c.read(ctx, t, t.statement(in, 0), 0, r.BytesMax, add)
	if !cut && err == nil {
		done.Last, done.Scanned, done.End = last, limit, len(last) == 0
	}
	return done, err
}

// unkeyed reads a table without a key, which must fit one chunk.
func (c *Conn) unkeyed(ctx context.Context, t *Table, r Range, add func(*Row) error) (done Done, err error) {
	limit := t.unkeyedMax + 1
	done, cut, err := c.read(ctx, t, t.statement(span{}, limit), limit, r.BytesMax, func(row *Row) error {
		if row.number > t.unkeyedMax {
			return t.noKey("it has grown to more rows than one chunk may have")
		}
		return add(row)
	})
	if err == nil && cut {
		err = t.noKey(fmt.Sprintf("it has more than the %d bytes that one chunk may have", r.BytesMax))
	}
	done.Scanned, done.End = done.Rows, err == nil
	return done, err
}

// read runs a statement and gives its rows to add; cut says that there may be
// more, of which done.Last tells where. limit is the statement's, 0 without.
func (c *Conn) read(ctx context.Context, t *Table, sql string, limit, bytesMax int, add func(*Row) error) (done Done, cut bool, err error) {
	rows, err := c.c.Select(ctx, sql, replica.SelectOptions{RowBytesMax: c.o.RowBytesMax, Quiet: c.o.Quiet, Limit: c.o.Limit, ReadMax: c.o.ReadMax})
	if err != nil {
		return done, false, c.chunkFault(ctx, t, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	rd := c.reader(t)
	if err := t.sameFields(rd.whole, rows.Fields(), &t.fields); err != nil {
		return done, false, err
	}
	row := Row{r: rd}
	for {
		raw, err := rows.Next()
		if err == io.EOF {
			return done, false, nil
		}
		if err != nil {
			return done, false, c.chunkFault(ctx, t, err)
		}
		if err := rd.whole.Parse(raw); err != nil {
			return done, false, err
		}
		row.number, row.bytes = done.Rows+1, len(raw)
		enough := false
		if err := add(&row); err != nil {
			if enough = err == ErrEnough; !enough {
				return done, false, err
			}
		}
		done.Rows++
		done.Bytes += int64(len(raw))
		full := enough || bytesMax > 0 && done.Bytes >= int64(bytesMax)
		if full || done.Rows == limit {
			done.Last, err = t.appendKey(nil, rd.whole, true)
			return done, full, err
		}
	}
}

// chunkFault makes a fault of what a chunk ended with.
func (c *Conn) chunkFault(ctx context.Context, t *Table, err error) error {
	if replica.Code(err) == 0 && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return c.sqlFault(t, err)
}

// reader is what one connection decodes a table's rows with.
type reader struct {
	t     *Table
	whole *binlog.Selection
	key   *binlog.Selection // of the key alone, in its order
}

// reader returns the table's, and keeps it until another table is read.
func (c *Conn) reader(t *Table) *reader {
	if c.r == nil || c.r.t != t {
		plan := t.plan.Clone()
		c.r = &reader{t: t, whole: binlog.NewSelection(plan, t.columns), key: binlog.NewSelection(plan, t.KeyColumns)}
	}
	return c.r
}

// sameFields compares a result's columns with what was planned, and with those of
// the first one. Fault: snapshot_table_changed.
func (t *Table) sameFields(s *binlog.Selection, fields []replica.Field, first *atomic.Pointer[[]replica.Field]) error {
	types := make([]byte, len(fields))
	for i := range fields {
		types[i] = fields[i].Type
	}
	if !s.Numbers(types) {
		return changed(t.FullName(), errors.New("the server sends columns of other types than its catalog names"))
	}
	if !first.CompareAndSwap(nil, &fields) && !slices.Equal(*first.Load(), fields) {
		return changed(t.FullName(), errors.New("the server sends columns of other types than before"))
	}
	return nil
}

// boundary returns the key of the last of the next rows, without a predicate;
// empty where the span has no more than those.
func (c *Conn) boundary(ctx context.Context, t *Table, in span, rows int) (last Key, err error) {
	b := append(t.keyStatement(in, false), " LIMIT 1 OFFSET "...)
	return c.oneKey(ctx, t, string(strconv.AppendInt(b, int64(rows-1), 10)))
}

// oneKey runs a SELECT of the key alone that gives one row, or none.
func (c *Conn) oneKey(ctx context.Context, t *Table, sql string) (k Key, err error) {
	rows, err := c.c.Select(ctx, sql, replica.SelectOptions{RowBytesMax: c.o.RowBytesMax, Quiet: c.o.Quiet})
	if err != nil {
		return nil, c.chunkFault(ctx, t, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	rd := c.reader(t)
	if err := t.sameFields(rd.key, rows.Fields(), &t.keyFields); err != nil {
		return nil, err
	}
	raw, err := rows.Next()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, c.chunkFault(ctx, t, err)
	}
	if err := rd.key.Parse(raw); err != nil {
		return nil, err
	}
	return t.appendKey(nil, rd.key, false)
}

// Boundary returns the key of the row so many rows behind After, and up to UpTo,
// where a range can be divided; empty where there are not more. It reads the index
// alone, and the time that takes grows with rows.
func (c *Conn) Boundary(ctx context.Context, t *Table, r Range) (Key, error) {
	in, err := c.keyed(ctx, t, r)
	if err != nil {
		return nil, err
	}
	return c.boundary(ctx, t, in, max(1, r.RowsMax))
}

// Last returns the key of the table's last row, empty for an empty table: what
// comes to be behind it the log tells.
func (c *Conn) Last(ctx context.Context, t *Table) (Key, error) {
	if _, err := c.keyed(ctx, t, Range{}); err != nil {
		return nil, err
	}
	return c.oneKey(ctx, t, string(append(t.keyStatement(span{}, true), " LIMIT 1"...)))
}

// keyed begins a question about the order of a table's rows.
func (c *Conn) keyed(ctx context.Context, t *Table, r Range) (span, error) {
	if len(t.key) == 0 {
		return span{}, t.noKey("its rows have no order")
	}
	if err := c.ready(ctx); err != nil {
		return span{}, err
	}
	return t.span(r)
}
