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

// ReplayBody is the body of a replay message: a dead letter was replayed, and no row
// came of it.
type ReplayBody struct {
	Op         string `json:"op"`
	Kind       string `json:"kind"`
	DeadLetter string `json:"dead_letter"`       // its id: step/transaction#row
	Refused    string `json:"refused,omitempty"` // why it was refused again; empty for one that a step dropped
}

// AppendReplay appends the body of a replay message.
func AppendReplay(dst []byte, deadLetter, refused string) []byte {
	return appendJSON(dst, ReplayBody{Op: controlOp, Kind: "replay", DeadLetter: deadLetter, Refused: refused})
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
	Record json.RawMessage `json:"record"`        // the source's own form
	Run    uint64          `json:"run,omitempty"` // it says nothing of other runs; 0 for none
}

// AppendHistory appends the body of a history message; record is JSON, and run
// the number of the run, 0 for none.
func AppendHistory(dst []byte, behind sdk.Position, db, table string, record []byte, run uint64) []byte {
	return appendJSON(dst, HistoryBody{Op: controlOp, Kind: "history", Behind: behind, DB: db, Table: table, Record: record, Run: run})
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
	// Subjects says how many of them are on each subject, unless SubjectsLeftOut
	// says why it does not.
	Subjects        map[string]*uint64 `json:"subjects,omitempty"`
	SubjectsLeftOut string             `json:"subjects_left_out,omitempty"`
}

// Values of TxEndBody.SubjectsLeftOut.
const (
	// SubjectsTooMany: the transaction has too many subjects to name them all.
	SubjectsTooMany = "too_many"
	// SubjectsNotKnown: delivery was resumed inside the transaction, and the sink
	// can't tell what it had.
	SubjectsNotKnown = "not_known"
)

// AppendTxEnd appends the body of a tx_end message. Op and Kind are set.
func AppendTxEnd(dst []byte, e TxEndBody) []byte {
	e.Op, e.Kind = controlOp, "tx_end"
	return appendJSON(dst, e)
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

// RunBody is the body of the messages that stand around a run: all between them
// belongs to it. A run that begins before the one before has ended replaces it.
type RunBody struct {
	Op       string       `json:"op"`
	Kind     string       `json:"kind"` // run_begin or run_end
	Run      uint64       `json:"run"`
	Due      int64        `json:"due_ms"`   // when it was to begin, in milliseconds since the Unix epoch
	Began    int64        `json:"began_ms"` // when it did
	Position sdk.Position `json:"position"` // exact, as in a heartbeat
	// Messages is how many messages of rows it gave; nil at the begin.
	Messages *uint64 `json:"messages,omitempty"`
}

// AppendRun appends the body of a run_begin or, with its messages, of a run_end.
func AppendRun(dst []byte, r RunBody) []byte {
	r.Op, r.Kind = controlOp, "run_begin"
	if r.Messages != nil {
		r.Kind = "run_end"
	}
	return appendJSON(dst, r)
}

// SnapshotBody is the body of the messages that stand around a copy of tables: its
// rows are between them.
type SnapshotBody struct {
	Op   string `json:"op"`
	Kind string `json:"kind"` // snapshot_begin, snapshot_end, snapshot_cancelled or snapshot_failed
	// Snapshot is its id, as the transactions of its rows have it; "initial" for the
	// copy that the configuration asks for.
	Snapshot string   `json:"snapshot"`
	Tables   []string `json:"tables"` // "db.table"; patterns of the configuration for its own copy
	Where    string   `json:"where,omitempty"`
	Columns  []string `json:"columns,omitempty"`
	Code     string   `json:"code,omitempty"` // of the fault that it failed with
}

// AppendSnapshot appends the body of a message about a copy of tables. Op is set.
func AppendSnapshot(dst []byte, b SnapshotBody) []byte {
	b.Op = controlOp
	return appendJSON(dst, b)
}

func appendJSON(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // the bodies are structs of texts and numbers
		panic(err)
	}
	return append(dst, b...)
}
