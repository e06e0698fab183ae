package oracle

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

const numberAll = `      - wasm: number
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

// What a connector keeps and what the stream has can't disagree: whatever is
// killed, the changes of each key are numbered without a gap and without a
// number twice.
func TestKillWithState(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills them for minutes")
	}
	for i, c := range []struct {
		name     string
		database func(testing.TB, ...testserver.Option) *testserver.DB
		embedded bool
		servers  bool
	}{
		{"mysql, embedded broker", testserver.MySQL, true, false},
		{"mariadb, all are killed", testserver.MariaDB, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := c.database(t)
			var broker *testserver.NATSServer
			if !c.embedded {
				broker = testserver.NATS(t)
			}
			r := newRig(t, db, broker, numberAll)
			r.outages = c.servers
			report := torture(t, r, kills(t), uint64(100+i), c.servers, nil)
			n := &numbers{last: map[string]uint64{}}
			if r.broker == nil {
				r.start()
				defer r.kill()
			}
			waitFor(t, "the stream", func() bool {
				read, err := Read(t.Context(), r.connect(), streamName, n.message)
				return err == nil && read > 0
			})
			for _, finding := range n.findings {
				t.Error(finding)
			}
			if n.rows < report.Rows || len(n.last) == 0 {
				t.Errorf("%d rows are numbered, of %d", n.rows, report.Rows)
			}
			t.Logf("%d rows of %d keys are numbered", n.rows, len(n.last))
		})
	}
}
