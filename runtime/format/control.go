package format

import (
	"encoding/json"
	"fmt"

	"github.com/cdcd-io/cdcd/sdk"
)

// Keyer is what a Format has when it can render a row's primary key for sinks
// that want a message key.
type Keyer interface {
	// AppendKey appends the key of the row after its change (before it, where
	// there is no after) to dst; nothing for a table without a key.
	AppendKey(dst []byte, r sdk.Row) []byte
}

// controlOp marks the body of a control message: consumers of rows never see
// one on their subjects.
const controlOp = "m"

// SchemaBody is the body of a schema message: a table's definition.
type SchemaBody struct {
	Op          string         `json:"op"`
	Kind        string         `json:"kind"`
	Fingerprint string         `json:"fingerprint"`
	DB          string         `json:"db"`
	Table       string         `json:"table"`
	Columns     []SchemaColumn `json:"columns"`
	Key         []string       `json:"key"` // names of the key's columns, in key order
}

// SchemaColumn is one column in a SchemaBody.
type SchemaColumn struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`   // sdk.Type by name
	Native   string   `json:"native"` // the server's own type
	Nullable bool     `json:"nullable"`
	Length   uint32   `json:"length,omitempty"`
	Scale    uint8    `json:"scale,omitempty"`
	Labels   []string `json:"labels,omitempty"`
}

// AppendSchema appends the body of a schema message. fingerprint is
// s.Fingerprint().
func AppendSchema(dst []byte, s *sdk.Schema, fingerprint string) []byte {
	b := SchemaBody{Op: controlOp, Kind: "schema", Fingerprint: fingerprint, DB: s.DB, Table: s.Table,
		Columns: make([]SchemaColumn, len(s.Columns)), Key: make([]string, len(s.Key))}
	for i := range s.Columns {
		c := &s.Columns[i]
		b.Columns[i] = SchemaColumn{Name: c.Name, Type: c.Type.String(), Native: c.Native, Nullable: c.Nullable,
			Length: c.Length, Scale: c.Scale, Labels: c.Labels}
	}
	for i, k := range s.Key {
		b.Key[i] = s.Columns[k].Name
	}
	return appendJSON(dst, b)
}

// HistoryBody is the body of a history message: what the source knows of a
// table's definition, or of a database, behind a position of its log. Where the
// local state is lost, the source's history is rebuilt from these.
type HistoryBody struct {
	Op     string          `json:"op"`
	Kind   string          `json:"kind"`
	Behind sdk.Position    `json:"behind"`
	DB     string          `json:"db"`
	Table  string          `json:"table,omitempty"`
	Record json.RawMessage `json:"record"` // the source's own form
}

// AppendHistory appends the body of a history message; record is JSON.
func AppendHistory(dst []byte, behind sdk.Position, db, table string, record []byte) []byte {
	return appendJSON(dst, HistoryBody{Op: controlOp, Kind: "history", Behind: behind, DB: db, Table: table, Record: record})
}

// ParseHistory reads what AppendHistory wrote.
func ParseHistory(body []byte) (h HistoryBody, err error) {
	err = json.Unmarshal(body, &h)
	if err == nil && (h.Kind != "history" || h.Behind == "" || len(h.Record) == 0) {
		err = fmt.Errorf("not the body of a history message: %.100q", body)
	}
	return h, err
}

// TxEndBody is the body of the message that ends a transaction which did not
// fit one batch.
type TxEndBody struct {
	Op       string `json:"op"`
	Kind     string `json:"kind"`
	Tx       string `json:"tx"`
	Rows     uint64 `json:"rows"`     // followed rows, messages or not
	Messages uint64 `json:"messages"` // before this one
}

// AppendTxEnd appends the body of a tx_end message.
func AppendTxEnd(dst []byte, tx string, rows, messages uint64) []byte {
	return appendJSON(dst, TxEndBody{Op: controlOp, Kind: "tx_end", Tx: tx, Rows: rows, Messages: messages})
}

// HeartbeatBody is the body of a heartbeat.
type HeartbeatBody struct {
	Op       string `json:"op"`
	Kind     string `json:"kind"`
	Position string `json:"position"`          // exact: everything before it is delivered
	LogPos   string `json:"log_pos,omitempty"` // the same for people
}

// AppendHeartbeat appends the body of a heartbeat.
func AppendHeartbeat(dst []byte, pos sdk.Position, logPos string) []byte {
	return appendJSON(dst, HeartbeatBody{Op: controlOp, Kind: "heartbeat", Position: string(pos), LogPos: logPos})
}

func appendJSON(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // the bodies are structs of texts and numbers
		panic(err)
	}
	return append(dst, b...)
}
