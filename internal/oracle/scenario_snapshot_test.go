package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// snapshotScenarios are those of people who have tables copied while all goes on.
func snapshotScenarios() []scenario {
	return []scenario{
		{name: "snapshots asked for, SIGKILL of cdcd, broker and MySQL", share: 0.05, least: 5, harm: killAsked, setup: onMySQL(followingSlowly)},
		{name: "snapshots asked for, SIGKILL of cdcd, broker and MariaDB", share: 0.05, least: 5, harm: killAsked, setup: onMariaDB(followingSlowly)},
	}
}

// followingSlowly is a pipeline whose tables take a while to copy.
func followingSlowly(t *testing.T, db *testserver.DB) setup {
	t.Helper()
	return setup{db: db, brokers: one(t), steps: filterAll, requests: true,
		source: "        rate_limit: {rows_per_second: 4000}\n        snapshot_options: {chunk_bytes: 64KiB, workers: 2}\n",
		load:   Options{LargeEvery: 400, LargeRows: 1500}}
}

// asked is a snapshot as cdcd tells of it.
type asked struct{ ID, State, Code string }

func (a asked) over() bool { return slices.Contains([]string{"done", "cancelled", "failed"}, a.State) }

// snapshots asks the daemon about snapshots: a POST with a body, or a GET without.
func (d *daemon) snapshots(path string, body, answer any) error {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + d.admin + "/v1/pipelines/" + pipelineName + "/snapshots" + path
	var r *http.Response
	var err error
	if body == nil {
		r, err = client.Get(url)
	} else {
		text, jerr := json.Marshal(body)
		if jerr != nil {
			return jerr
		}
		r, err = client.Post(url, "application/json", bytes.NewReader(text))
	}
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	return json.NewDecoder(r.Body).Decode(answer)
}

// list returns the snapshots that were asked for.
func (d *daemon) list() ([]asked, error) {
	var all struct{ Snapshots []asked }
	err := d.snapshots("", nil, &all)
	return all.Snapshots, err
}

// person asks for copies, pauses, resumes and cancels them, until stop is closed, and
// returns the ids of those that were accepted. The daemon may be down.
func (d *daemon) person(dice *rand.Rand, stop <-chan struct{}) (accepted []string) {
	for {
		select {
		case <-stop:
			return accepted
		case <-time.After(time.Duration(dice.IntN(300)) * time.Millisecond):
		}
		all, err := d.list()
		if err != nil {
			continue
		}
		pending := slices.DeleteFunc(all, asked.over)
		if len(pending) == 0 || len(pending) < 3 && dice.IntN(3) > 0 {
			body := map[string]any{"tables": []string{Tables()[dice.IntN(len(Tables()))], Tables()[0]}}
			if dice.IntN(2) == 0 {
				body["where"] = fmt.Sprintf(copyWhere, 3, dice.IntN(3))
			}
			var r asked
			if d.snapshots("", body, &r) == nil {
				accepted = append(accepted, r.ID)
			}
			continue
		}
		what := []string{"pause", "resume", "resume", "resume", "cancel"}[dice.IntN(5)]
		_ = d.snapshots("/"+pending[dice.IntN(len(pending))].ID+"/"+what, struct{}{}, &asked{}) // over meanwhile, or the daemon is down
	}
}

// killAsked kills cdcd, the broker and the database, and lets the broker forget its
// last moments, while a person has tables
// copied, and lets all that was asked for come to its end.
func killAsked(r *rig, rounds int) {
	r.outages = true
	d := r.daemons[0]
	stop := make(chan struct{})
	var accepted []string
	var person sync.WaitGroup
	dice := rand.New(rand.NewPCG(r.seed, 3))
	person.Go(func() { accepted = d.person(dice, stop) })
	for n := range rounds {
		r.waitFor("a snapshot", func() bool {
			s := d.status().Source.Snapshot
			return s != nil && s.Request != ""
		})
		r.nap(0, 700*time.Millisecond)
		switch n % 5 {
		case 1:
			r.killBroker()
		case 3:
			r.killDatabase()
		case 4:
			r.forgetTail()
		default:
			r.killDaemon(d, true)
		}
	}
	close(stop)
	person.Wait()
	all := r.allOver(d)
	if !slices.ContainsFunc(all, func(a asked) bool { return a.State == "done" }) {
		// Where copying is slow, the person may have cancelled them all.
		var last asked
		if err := d.snapshots("", map[string]any{"tables": Tables()[:1]}, &last); err != nil {
			r.t.Fatal(err)
		}
		accepted = append(accepted, last.ID)
		all = r.allOver(d)
	}
	r.verdict = func(report *Report) { r.judgeAsked(report, accepted, all) }
	r.note("%d snapshots asked for", len(accepted))
}

// allOver waits until nothing that was asked for waits or goes on, and returns what
// is on record.
func (r *rig) allOver(d *daemon) (all []asked) {
	r.t.Helper()
	r.waitFor("the snapshots' end", func() bool {
		var err error
		if all, err = d.list(); err != nil {
			return false
		}
		for _, a := range all {
			if a.State == "paused" {
				_ = d.snapshots("/"+a.ID+"/resume", struct{}{}, &asked{}) // asked again
			}
		}
		return !slices.ContainsFunc(all, func(a asked) bool { return !a.over() })
	})
	return all
}

// What was done is not done where the broker has forgotten all of it: it is done
// again, when cdcd was down meanwhile, and had nobody ask before.
func TestSnapshotForgotten(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills them")
	}
	binary := build(t)
	db := testserver.MySQL(t)
	b := testserver.NATS(t)
	r := newRig(t, binary, "forgotten", 1, setup{db: db, brokers: []*testserver.NATSServer{b}, requests: true})
	r.begin()
	d := r.daemons[0]
	run(t, r.work, func() { r.awaitMore(300) })
	before := r.crashNow(b)
	var s asked
	if err := d.snapshots("", map[string]any{"tables": Tables()}, &s); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the snapshot", func() bool {
		err := d.snapshots("/"+s.ID, nil, &s)
		return err == nil && s.State == "done"
	})
	d.kill()
	r.crashTo(before, b)
	b.Restart(t)
	d.start()
	r.waitFor("the snapshot, once more", func() bool {
		again := NewChecker(Spec{Pipeline: pipelineName, Requests: true})
		if err := r.read(again.Message); err != nil {
			t.Fatal(err)
		}
		c := again.copies[s.ID]
		return c != nil && c.ended && d.snapshots("/"+s.ID, nil, &s) == nil && s.State == "done"
	})
	d.kill()
	r.verdict = func(report *Report) { r.judgeAsked(report, []string{s.ID}, []asked{s}) }
	r.judge()
}

// judgeAsked compares what is on record of snapshots with what the stream tells.
func (r *rig) judgeAsked(report *Report, accepted []string, all []asked) {
	bad := func(format string, args ...any) {
		report.Changed++
		report.Findings = append(report.Findings, fmt.Sprintf(format, args...))
	}
	for _, id := range accepted[max(0, len(accepted)-100):] { // so many are kept
		if !slices.ContainsFunc(all, func(a asked) bool { return a.ID == id }) {
			bad("snapshot %s was accepted, and is not on record", id)
		}
	}
	for _, a := range all {
		c := r.checker.copies[a.ID]
		switch {
		case a.State == "failed":
			bad("snapshot %s has failed: %s", a.ID, a.Code)
		case a.State == "done" && (c == nil || !c.ended), a.State == "cancelled" && c != nil && (!c.over || c.ended):
			bad("snapshot %s is %s on record, and told as %+v", a.ID, a.State, c)
		}
	}
	if report.Snapshots == 0 || report.Reads == 0 {
		r.t.Errorf("%d snapshots, %d rows read: nothing was tried", report.Snapshots, report.Reads)
	}
	r.note("%d of them whole and %d given up, %d rows read", report.Snapshots, report.Cancelled, report.Reads)
	r.t.Logf("%s", strings.Join(r.notes, "; "))
}
