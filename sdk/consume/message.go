package consume

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Place is where a message comes from in the database's log.
type Place struct {
	Tx    string // the transaction: its GTID, or file:position
	Row   uint64 // number among the transaction's followed rows, before any step
	Part  uint32 // number among the messages that the row gave
	Parts uint32 // how many there are
	N     uint64 // number among the transaction's messages
}

// Original is the place in the log of a replayed row.
type Original struct {
	Tx  string // the transaction: its GTID, or file:position
	Row uint64 // number among the transaction's followed rows
	// Replay is the number of the replay: it rises from one replayed row of the pipeline
	// to the next, and none has that of another.
	Replay uint64
}

// parseOriginal reads the headers of a replayed row; nil without them.
func parseOriginal(at, number string) (*Original, error) {
	if at == "" {
		return nil, nil
	}
	tx, row, ok := cutLast(at, '#')
	o := &Original{Tx: tx}
	var err, err2 error
	o.Row, err = strconv.ParseUint(row, 10, 64)
	o.Replay, err2 = strconv.ParseUint(number, 10, 64)
	if !ok || tx == "" || err != nil || err2 != nil || o.Replay == 0 {
		return nil, fmt.Errorf("Cdc-Original-Pos %.100q, Cdc-Replay %.40q: want tx#row and a number", at, number)
	}
	return o, nil
}

// parsePlace reads "tx#row.part/parts#n".
func parsePlace(s string) (p Place, err error) {
	rest, n, ok := cutLast(s, '#')
	tx, at, ok2 := cutLast(rest, '#')
	row, parts, ok3 := strings.Cut(at, ".")
	part, of, ok4 := strings.Cut(parts, "/")
	bad := fmt.Errorf("Cdc-Pos %.100q: want tx#row.part/parts#n", s)
	if !ok || !ok2 || !ok3 || !ok4 || tx == "" {
		return p, bad
	}
	p.Tx = tx
	for _, f := range []struct {
		text string
		bits int
		set  func(uint64)
	}{
		{row, 64, func(v uint64) { p.Row = v }}, {part, 32, func(v uint64) { p.Part = uint32(v) }},
		{of, 32, func(v uint64) { p.Parts = uint32(v) }}, {n, 64, func(v uint64) { p.N = v }},
	} {
		v, err := strconv.ParseUint(f.text, 10, f.bits)
		if err != nil {
			return p, bad
		}
		f.set(v)
	}
	return p, nil
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Message is one changed row.
type Message struct {
	Subject  string
	Sequence uint64 // in the stream
	Counter  uint64 // Cdc-Seq: dense over the pipeline's rows; of a replayed row, that of the row before it
	Place    Place
	// Original is where a replayed row comes from: a dead letter of that transaction
	// and row of the log, which somebody let come by again. Older than its neighbours, it
	// stands where it was let through. The transaction of Place is then one made for it
	// alone. Nil for a row in its place.
	Original *Original
	Header   map[string][]string // all headers, those that a connector gave included
	Body     []byte              // in the pipeline's format
	// Claim is where Body was, of a row that is too large for a message; otherwise
	// nil. The Body has been fetched and verified.
	Claim *Claim
}

// Op is what happened to a row.
type Op string

// The operations.
const (
	Insert   Op = "c"
	Update   Op = "u"
	Delete   Op = "d"
	Read     Op = "r" // by a snapshot
	Truncate Op = "t" // of the whole table: no image
)

// Change is one changed row of a table whose columns are the fields of T, by
// their json tags. Before is nil for an insert, After for a delete. A column
// that the log does not tell leaves its field as it is in a new T; with
// map[string]json.RawMessage as T, absent and null are different.
type Change[T any] struct {
	Op          Op
	Before      *T
	After       *T
	Source      Source
	CommitTime  time.Time
	Transaction Transaction
}

// Source says where a change was made.
type Source struct {
	Connector string `json:"connector"`
	DB        string `json:"db"`
	Table     string `json:"table"`
	ServerID  uint32 `json:"server_id"`
	GTID      string `json:"gtid"`
	File      string `json:"file"`
	Pos       uint64 `json:"pos"`
	Row       uint64 `json:"row"`
}

// Transaction says where in its transaction a change is. Total is 0 where it
// was not known when the message was written.
type Transaction struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
	Total uint64 `json:"total"`
}

// Decode reads a message in the format json. Numbers go into integer fields
// exactly; decimals are strings, as the format has them.
func Decode[T any](m *Message) (Change[T], error) {
	var e struct {
		Op          Op          `json:"op"`
		Before      *T          `json:"before"`
		After       *T          `json:"after"`
		Source      Source      `json:"source"`
		TsMS        int64       `json:"ts_ms"`
		Transaction Transaction `json:"transaction"`
	}
	if err := json.Unmarshal(m.Body, &e); err != nil {
		return Change[T]{}, fmt.Errorf("message %d on %s: %w", m.Sequence, m.Subject, err)
	}
	return Change[T]{e.Op, e.Before, e.After, e.Source, time.UnixMilli(e.TsMS), e.Transaction}, nil
}
