package oracle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The machine may be so busy with the harm that is done on it that a connector
// waits for its turn longer than the default limit.
const filterAll = `      - wasm: filter
        limits: {time: 1m}
        with: {where: "true"}`

const maskEmail = `      - wasm: mask
        only: [shop.accounts]
        limits: {time: 1m}
        with: {columns: [email], how: sha256}`

var masked = map[string]func(string) string{"accounts.email": sha256Hex}

// scenario is one way of doing harm. Of each 2,000 kills that are asked for, a
// scenario with share 0.2 has 400 rounds.
type scenario struct {
	name  string
	share float64
	least int // rounds, however few kills are asked for
	setup func(*testing.T) setup
	harm  func(*rig, int)      // does so many rounds
	whole func(*rig, int) *row // in place of setup's load and harm
}

// scenarios are all of them; the files scenario*_test.go have them.
func scenarios() []scenario {
	return slices.Concat(killScenarios(), stopScenarios(), diskScenarios(), restoreScenarios(), stateScenarios(), stormScenarios(), sharedScenarios(), snapshotScenarios())
}

const (
	killsDefault = 20 // of the short form: two to three minutes on two cores
	seedDefault  = 1
)

// The promise: whatever is killed, stopped, cut off or filled up, and whenever,
// the stream holds each change once, whole, unchanged and in the order of the
// database's log.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and does harm to them for minutes")
	}
	kills, seed := number64(t, "CDCD_KILLS", killsDefault), number64(t, "CDCD_TORTURE_SEED", seedDefault)
	t.Logf("seed %d: CDCD_TORTURE_SEED=%d does the same again, as far as timing lets it", seed, seed)
	binary := build(t)
	all := &tally{}
	t.Run("scenarios", func(t *testing.T) {
		for i, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				w := s.run(t, binary, seed+uint64(i)*1000, kills)
				t.Logf("%v", w)
				all.add(i, w)
			})
		}
	})
	report := all.print(t.Failed())
	t.Logf("\n%s", report)
	if path := os.Getenv("CDCD_KILLS_REPORT"); path != "" {
		if err := os.WriteFile(path, []byte(report), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rounds is how often the scenario does its harm for so many kills in all.
func (s *scenario) rounds(kills uint64) int { return max(s.least, int(s.share*float64(kills)+0.5)) }

func (s *scenario) run(t *testing.T, binary string, seed, kills uint64) *row {
	rounds := s.rounds(kills)
	r := newRig(t, binary, s.name, seed, s.setup(t))
	if s.whole != nil {
		return s.whole(r, rounds)
	}
	return r.torture(func() { s.harm(r, rounds) })
}

func number64(t *testing.T, variable string, otherwise uint64) uint64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// torture loads the database while harm is done, and judges.
func (r *rig) torture(harm func()) *row {
	r.begin()
	run(r.t, r.work, func() {
		harm()
		time.Sleep(300 * time.Millisecond)
	})
	for _, d := range r.daemons {
		d.kill()
	}
	if err := r.daemons[0].catchUp(5*time.Minute + time.Duration(r.faults)*time.Second); err != nil {
		r.keep()
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
	return r.judge()
}

// begin makes the tables and starts the first daemon; the load does not begin.
func (r *rig) begin() {
	r.t.Helper()
	if r.load.LargeEvery == 0 {
		r.load.LargeEvery = 300
	}
	r.load.Seed, r.load.XAEvery = r.seed, 8
	r.work = NewWorkload(r.db, r.load)
	if err := r.work.Create(); err != nil {
		r.t.Fatal(err)
	}
	if r.shared {
		r.makeShared()
	}
	if r.refused {
		r.db.Exec(r.t, "CREATE TABLE "+refusedTable+" (n BIGINT AUTO_INCREMENT PRIMARY KEY, note TEXT NOT NULL)")
	}
	r.daemons[0].start()
	r.awaitStream() // which begins before the load does
}

// judge reads the whole stream, and compares it with the tables.
func (r *rig) judge() *row {
	r.t.Helper()
	checker := NewChecker(Spec{Pipeline: pipelineName, Masked: r.masked, Shared: r.shared, Requests: r.requests})
	r.checker = checker
	message := checker.Message
	if r.shared {
		r.firsts = NewFirsts(checker, duplicateWindow)
		message = r.firsts.Message
	}
	err := r.read(func(m Message) {
		message(m)
		for _, mark := range r.marks {
			mark.message(m)
		}
		if r.observe != nil {
			r.observe(m)
		}
	})
	if err != nil {
		r.keep()
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
	tables, err := r.work.Tables()
	if err != nil {
		r.t.Fatal(err)
	}
	checker.Compare(tables)
	report := checker.Report()
	if r.verdict != nil {
		r.verdict(&report)
	}
	stats := r.work.Stats()
	r.t.Logf("%d faults, %d kills, workload %+v, stream: %d messages, %d rows, %d transactions, %+v",
		r.faults, r.kills, stats, report.Messages, report.Rows, report.Transactions, report.Counts)
	if report.Wrong() {
		r.t.Errorf("seed %d: the stream is not what the database did:\n%s", r.seed, strings.Join(report.Findings, "\n"))
		r.keep()
	}
	if report.Rows < int(stats.Rows) || stats.Rows == 0 {
		r.t.Errorf("%d rows in the stream, %d were committed", report.Rows, stats.Rows)
	}
	return r.row(report)
}

func (r *rig) row(report Report) *row {
	w := &row{Scenario: r.name, Note: strings.Join(r.notes, "; "), Faults: r.faults, Kills: r.kills, Messages: report.Messages, Counts: report.Counts}
	for _, m := range r.marks {
		if !m.first.IsZero() {
			w.Took = append(w.Took, m.took())
		}
	}
	slices.Sort(w.Took)
	return w
}

// note adds to what the table says of the scenario.
func (r *rig) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// nap sleeps for a random time.
func (r *rig) nap(least, most time.Duration) {
	time.Sleep(least + time.Duration(r.dice.Int64N(int64(most-least)+1)))
}

// row is what a scenario came to.
type row struct {
	Scenario      string
	Faults, Kills int
	Messages      int
	Counts
	Took []time.Duration // sorted: from a fault to the first message
	Note string
}

// String is the row of a Markdown table.
func (w *row) String() string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %s | %s | %s |", w.Scenario, w.Faults, w.Kills, w.Messages,
		w.Lost, w.Doubled, w.Reordered, w.Changed, span(w.Took, 0.5), span(w.Took, 1), w.Note)
}

// tally collects rows; scenarios run beside each other.
type tally struct {
	mu   sync.Mutex
	rows map[int]*row
}

func (b *tally) add(i int, w *row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rows == nil {
		b.rows = map[int]*row{}
	}
	b.rows[i] = w
}

// print gives the table for the docs, and a last line of JSON.
func (b *tally) print(failed bool) string {
	var out strings.Builder
	var total struct {
		Kills    int `json:"kills"`
		Messages int `json:"messages"`
		Counts
	}
	out.WriteString("| scenario | faults | of them SIGKILL | messages | lost | doubled | reordered | changed | first message after: p50 | longest | |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range scenarios() {
		w := b.rows[i]
		if w == nil {
			continue // skipped or failed, and said why
		}
		fmt.Fprintln(&out, w)
		total.Kills += w.Kills
		total.Messages += w.Messages
		total.Lost += w.Lost
		total.Doubled += w.Doubled
		total.Reordered += w.Reordered
		total.Changed += w.Changed
	}
	line, err := json.Marshal(total)
	if err != nil {
		panic(err) // numbers
	}
	if failed {
		out.WriteString("\nFAILED: a scenario did not come to its end, or is wrong; see above\n")
	}
	return out.String() + "\n" + string(line) + "\n"
}

func span(took []time.Duration, share float64) string {
	if len(took) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f s", quantile(took, share).Seconds())
}

func sha256Hex(text string) string {
	if text == null {
		return null
	}
	sum := sha256.Sum256([]byte(text))
	return shorten(hex.EncodeToString(sum[:]))
}
