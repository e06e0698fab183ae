package oracle

import (
	"encoding/json"
	"fmt"
	"strconv"
)

const numberAll = `      - wasm: number
        limits: {time: 1m}
        allow: [kv]`

// numbers judges a header that numbers the changes of each key: from the state
// of a connector, which must never disagree with what the stream has.
type numbers struct {
	last     map[string]uint64 // by table and key
	rows     int
	findings []string
}

func (n *numbers) message(m Message) {
	if kind := m.header(headerKind); kind != "" && kind != "data" {
		return
	}
	var body struct {
		Before, After map[string]json.RawMessage
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		n.found("message %d: %v", m.Sequence, err)
		return
	}
	row := body.After
	if row == nil {
		row = body.Before
	}
	key := m.Subject + "#" + string(row["n"])
	got, err := strconv.ParseUint(m.header("Row-Change"), 10, 64)
	if want := n.last[key] + 1; err != nil || got != want {
		n.found("message %d, %s: change %q of its key, want %d", m.Sequence, m.header(headerPos), m.header("Row-Change"), want)
	}
	n.last[key] = got
	n.rows++
}

func (n *numbers) found(format string, args ...any) {
	if len(n.findings) < findingsMax {
		n.findings = append(n.findings, fmt.Sprintf(format, args...))
	}
}
