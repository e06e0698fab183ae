package cdc

import (
	"encoding/json"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// Gap is a part of a log whose changes were not delivered and can't be had from
// the server any more: what has to be repaired by copying.
type Gap struct {
	// Cause is a fault's code: "position_purged", "log_replaced",
	// "event_too_large".
	Cause string `json:"cause"`
	// From is the last exact position before the gap, To the first behind it;
	// To is empty when it is not known.
	From sdk.Position `json:"from"`
	To   sdk.Position `json:"to,omitempty"`
	// Place is where the gap begins, for people: "binlog.000003:157".
	Place string `json:"place,omitempty"`
	Tx    string `json:"tx,omitempty"` // the transaction, when the gap lies within one
	// Row is how many followed rows of Tx lie before the gap.
	Row    uint64    `json:"row,omitempty"`
	Tables []string  `json:"tables,omitempty"` // "db.table"; empty when each followed table may be concerned
	Bytes  uint64    `json:"bytes,omitempty"`  // of log, when known
	Detail string    `json:"detail,omitempty"` // a sentence
	Time   time.Time `json:"time"`             // when it was found
}

// GapLedger keeps a pipeline's gaps. A restart does not forget them.
type GapLedger interface {
	// Put makes a record durable before it returns. The same key again is the
	// same gap, and leaves the first record as it is.
	Put(key string, record []byte) error
}

// Record puts the gap into the ledger; into none, it does nothing.
func (g Gap) Record(l GapLedger) error {
	if l == nil {
		return nil
	}
	record, err := json.Marshal(g)
	if err != nil {
		return err
	}
	key := g.Cause + " " + g.Tx + " " + g.Place
	if g.Tx == "" {
		key = g.Cause + " " + string(g.From)
	}
	return l.Put(key, record)
}

// DecodeGap reads what Record gave the ledger.
func DecodeGap(record []byte) (g Gap, err error) {
	err = json.Unmarshal(record, &g)
	return g, err
}
