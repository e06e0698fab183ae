package oracle

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The promise of a snapshot: killed at any time, under writers, its stream has
// each row of the tables once, no row steps back, and it is the tables in the end.
func TestKillSnapshot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills for minutes")
	}
	binary := build(t)
	for i, c := range []struct {
		name     string
		database func(testing.TB, ...testserver.Option) *testserver.DB
		options  []testserver.Option
		servers  bool
	}{
		{"mysql gtid", testserver.MySQL, nil, false},
		{"mysql file", testserver.MySQL, []testserver.Option{testserver.NoGTID()}, false},
		{"mariadb", testserver.MariaDB, nil, false},
		{"mysql gtid, all are killed", testserver.MySQL, nil, true},
		{"mariadb, all are killed", testserver.MariaDB, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // as TestTorture's scenarios
			db := c.database(t, c.options...)
			r := newRig(t, binary, c.name, uint64(i), setup{db: db, brokers: one(t), steps: filterAll})
			r.outages = c.servers
			r.configure("snapshot: never", "snapshot: initial\n        snapshot_options: {chunk_bytes: 64KiB, workers: 3}\n        rate_limit: {rows_per_second: 4000}")
			if c.options != nil { // without GTIDs it takes a short lock
				db.Exec(t, "GRANT LOCK TABLES ON *.* TO cdcd")
			}
			r.tortureSnapshot(int(number64(t, "CDCD_KILLS", 8)))
		})
	}
}

// configure changes the configuration's text, where it is not so already.
func (r *rig) configure(from, to string) {
	r.t.Helper()
	path := r.daemons[0].config
	text, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(text, []byte(from)) && !bytes.Contains(text, []byte(to)) {
		r.t.Fatalf("no %q in the configuration: %v", from, err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// awaitMore waits until the stream has so many more messages, or none come for
// long: when a kill comes, something has been delivered.
func (r *rig) awaitMore(n uint64) {
	last := func() uint64 {
		info, err := r.stream()
		if err != nil {
			return 0
		}
		return info.State.LastSeq
	}
	from, until := last(), time.Now().Add(4*time.Second)
	for last() <= from+n && time.Now().Before(until) {
		time.Sleep(3 * time.Millisecond)
	}
}

// copying waits until the daemon knows whether it copies tables, and says so.
func (r *rig) copying() (is bool) {
	r.t.Helper()
	r.waitFor("the pipeline", func() bool {
		s := r.daemons[0].status()
		is = s.Source.Snapshot != nil && !s.Source.Snapshot.Complete
		return s.State == "streaming" && s.Source.Snapshot != nil
	})
	return is
}

// copies is what came of snapshots that were harmed.
type copies struct {
	kills, during   int // all, and those that fell into copying
	pipelines       int // that began anew
	messages, reads int
}

// tortureSnapshot fills the tables, and kills while the copy runs, under writers. A
// pipeline whose copy has ended is judged, and another one begins, until there
// were enough kills.
func (r *rig) tortureSnapshot(kills int) {
	t := r.t
	create := NewWorkload(r.db, Options{Seed: r.seed})
	if err := create.Create(); err != nil {
		t.Fatal(err)
	}
	fill := NewWorkload(r.db, Options{Seed: r.seed + 100, LargeEvery: 3, LargeRows: 1500, Interval: time.Millisecond})
	run(t, fill, func() { time.Sleep(8 * time.Second) })
	var c copies
	for c.kills < kills && !t.Failed() {
		if c.pipelines++; c.pipelines > 1 {
			r.forget()
		}
		w := NewWorkload(r.db, Options{Seed: r.seed + uint64(c.pipelines)<<32, LargeEvery: 240, LargeRows: 1500, XAEvery: 8})
		r.killWhileCopying(w, &c, kills)
		r.judgeSnapshot(w, &c, time.Duration(kills)*time.Second)
	}
	t.Logf("%d kills, %d of them while tables were copied, by %d pipelines: %d messages, %d of them rows that were read", c.kills, c.during, c.pipelines, c.messages, c.reads)
	if 2*c.during < c.kills {
		t.Errorf("of %d kills only %d fell into copying", c.kills, c.during)
	}
}

// forget makes the pipeline one that never ran.
func (r *rig) forget() {
	r.t.Helper()
	ctx, cancel := contextFor(r.t, 30*time.Second)
	defer cancel()
	if err := r.js().DeleteStream(ctx, streamName); err != nil {
		r.t.Fatal(err)
	}
	if err := os.RemoveAll(r.daemons[0].state); err != nil {
		r.t.Fatal(err)
	}
}

// killWhileCopying starts the pipeline under load, and kills until its copy has
// ended or there were enough kills.
func (r *rig) killWhileCopying(w *Workload, c *copies, kills int) {
	d := r.daemons[0]
	r.configure("rows_per_second: 0", "rows_per_second: 4000")
	run(r.t, w, func() {
		d.start()
		defer d.kill()
		for c.kills < kills {
			r.awaitMore(uint64(r.dice.IntN(1000)))
			if r.outages && c.kills%3 == 1 {
				server := r.db.Process
				if r.dice.IntN(2) == 0 {
					server = r.broker().Process
				}
				server.Kill()
				r.nap(0, time.Second)
				server.Restart(r.t)
			}
			if !r.copying() {
				return
			}
			c.during++
			r.nap(0, 300*time.Millisecond)
			d.kill()
			c.kills++
			d.start()
			if r.dice.IntN(3) == 0 { // again, wherever that is
				r.nap(0, 300*time.Millisecond)
				d.kill()
				c.kills++
				d.start()
			}
		}
	})
}

// judgeSnapshot lets the pipeline come to its end, and judges its whole stream.
func (r *rig) judgeSnapshot(w *Workload, c *copies, patience time.Duration) {
	t := r.t
	t.Helper()
	r.configure("rows_per_second: 4000", "rows_per_second: 0")
	if err := r.daemons[0].catchUp(2*time.Minute + patience); err != nil {
		t.Fatal(err)
	}
	checker := NewChecker(Spec{Pipeline: pipelineName, Snapshot: true})
	if err := r.read(checker.Message); err != nil {
		t.Fatal(err)
	}
	tables, err := w.Tables()
	if err != nil {
		t.Fatal(err)
	}
	checker.Compare(tables)
	report := checker.Report()
	line, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	c.messages, c.reads = c.messages+report.Messages, c.reads+report.Reads
	t.Logf("pipeline %d, behind %d kills, workload %+v: %.400s", c.pipelines, c.kills, w.Stats(), line)
	if report.Wrong() {
		r.keep()
		t.Errorf("the stream is not what the database did:\n%s", strings.Join(report.Findings, "\n"))
	}
	if report.Reads == 0 || report.Rows == report.Reads {
		t.Errorf("%d rows, %d of them of a snapshot: nothing was tried", report.Rows, report.Reads)
	}
}
