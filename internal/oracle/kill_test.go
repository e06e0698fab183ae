package oracle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

const filterAll = `      - wasm: filter
        with: {where: "true"}`

const maskEmail = `      - wasm: mask
        only: [shop.accounts]
        with: {columns: [email], how: sha256}`

// kills is how often each case kills: 20, or what CDCD_KILLS says.
func kills(t *testing.T) int {
	text := os.Getenv("CDCD_KILLS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("CDCD_KILLS: %v", err)
	}
	return n
}

// The promise: whatever is killed, and whenever, the stream holds each change
// once, whole, unchanged and in the order of the database's log.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills them for minutes")
	}
	masked := map[string]func(string) string{"accounts.email": sha256Hex}
	var total struct {
		Kills    int `json:"kills"`
		Messages int `json:"messages"`
		Counts
	}
	cases := []struct {
		name     string
		database func(testing.TB, ...testserver.Option) *testserver.DB
		options  []testserver.Option
		embedded bool
		steps    string
		masked   map[string]func(string) string
		servers  bool // kills the broker and the database as well
	}{
		{"mysql gtid, external broker, filter", testserver.MySQL, nil, false, filterAll, nil, false},
		{"mysql file, embedded broker, mask", testserver.MySQL, []testserver.Option{testserver.NoGTID()}, true, maskEmail, masked, false},
		{"mariadb, embedded broker, filter", testserver.MariaDB, nil, true, filterAll, nil, false},
		{"mysql gtid, all are killed, filter and mask", testserver.MySQL, nil, false, filterAll + "\n" + maskEmail, masked, true},
		{"mariadb, all are killed, mask", testserver.MariaDB, nil, false, maskEmail, masked, true},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			db := c.database(t, c.options...)
			var broker *testserver.NATSServer
			if !c.embedded {
				broker = testserver.NATS(t)
			}
			n, r := kills(t), newRig(t, db, broker, c.steps)
			r.outages = c.servers
			report := torture(t, r, n, uint64(i), c.servers, c.masked)
			total.Kills += n
			total.Messages += report.Messages
			total.Lost += report.Lost
			total.Doubled += report.Doubled
			total.Reordered += report.Reordered
			total.Changed += report.Changed
		})
	}
	line, err := json.Marshal(total)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", line)
	if path := os.Getenv("CDCD_KILLS_REPORT"); path != "" {
		if err := os.WriteFile(path, append(line, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// torture loads the database, kills, and judges.
func torture(t *testing.T, r *rig, kills int, seed uint64, servers bool, masked map[string]func(string) string) Report {
	w := NewWorkload(r.db, Options{Seed: seed, LargeEvery: 300, XAEvery: 8})
	if err := w.Create(); err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(seed, 1))
	r.start()
	r.awaitStream() // which begins before the load does
	run(t, w, func() {
		for k := range kills {
			time.Sleep(time.Duration(20+dice.IntN(1500)) * time.Millisecond)
			if servers && k%3 == 1 {
				outage(t, r, dice)
			}
			r.kill()
			r.start()
		}
		time.Sleep(time.Second)
	})
	r.kill()
	r.catchUp(time.Minute + time.Duration(kills)*time.Second)
	report := r.judge(w, masked)
	t.Logf("%d kills, workload %+v, stream: %d messages, %d rows, %d transactions, %+v",
		kills, w.Stats(), report.Messages, report.Rows, report.Transactions, report.Counts)
	if report.Wrong() {
		t.Errorf("the stream is not what the database did:\n%s", strings.Join(report.Findings, "\n"))
	}
	if stats := w.Stats(); report.Rows < int(stats.Rows) || stats.Rows == 0 {
		t.Errorf("%d rows in the stream, %d were committed", report.Rows, stats.Rows)
	}
	return report
}

// outage kills the broker or the database under the running pipeline.
func outage(t *testing.T, r *rig, dice *rand.Rand) {
	server := r.db.Process
	if dice.IntN(2) == 0 {
		server = r.broker.Process
	}
	server.Kill()
	time.Sleep(time.Duration(dice.IntN(1000)) * time.Millisecond)
	server.Restart(t)
	time.Sleep(time.Duration(dice.IntN(2000)) * time.Millisecond)
}

func sha256Hex(text string) string {
	if text == null {
		return null
	}
	sum := sha256.Sum256([]byte(text))
	return shorten(hex.EncodeToString(sum[:]))
}
