package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/oracle"
)

// came is a data message of a stream, as far as replays are concerned.
type came struct {
	what     string // subject and body, in which the log's place is
	key      string // of the row: its table and primary key
	place    [2]uint64
	number   string // what the step with state said
	original bool   // it was replayed
}

// came reads the stream of a running pipeline.
func (k *keeper) came() (list []came) {
	k.t.Helper()
	keys := map[string][]string{} // columns, by table
	k.eventually("the stream", func() error {
		conn, err := nats.Connect(k.url)
		if err != nil {
			return err
		}
		defer conn.Close()
		list = nil
		var bad error
		_, err = oracle.Read(k.t.Context(), conn, "SHOP", func(m oracle.Message) {
			switch kind := strings.Join(m.Header["Cdc-Kind"], ""); kind {
			case "":
				c, err := cameOf(&m, keys)
				if err != nil && bad == nil {
					bad = err
				}
				list = append(list, c)
			case "schema":
				var s struct {
					DB, Table string
					Key       []string
				}
				if err := json.Unmarshal(m.Body, &s); err != nil {
					bad = err
				}
				keys[s.DB+"."+s.Table] = s.Key
			}
		})
		if bad != nil {
			k.t.Fatal(bad)
		}
		return err
	})
	return list
}

func cameOf(m *oracle.Message, keys map[string][]string) (c came, err error) {
	var body struct {
		Before, After map[string]json.RawMessage
		Source        struct {
			DB, Table, GTID string
			Row             uint64
		}
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return c, err
	}
	row := body.After
	if row == nil {
		row = body.Before
	}
	table := body.Source.DB + "." + body.Source.Table
	c = came{what: m.Subject + " " + string(m.Body), key: table, number: strings.Join(m.Header["Row-Change"], ""), original: len(m.Header["Cdc-Original-Pos"]) > 0}
	for _, column := range keys[table] {
		c.key += " " + string(row[column])
	}
	id := body.Source.GTID
	tx, err := strconv.ParseUint(id[strings.LastIndexAny(id, ":-")+1:], 10, 64)
	c.place = [2]uint64{tx, body.Source.Row}
	return c, err
}

// numbered checks that the rows of each key have the numbers from 1 on, in the order
// of the stream: what the step keeps is what the stream says it has kept.
func numbered(t *testing.T, list []came) {
	t.Helper()
	last := map[string]int{}
	for _, c := range list {
		if last[c.key]++; c.number != strconv.Itoa(last[c.key]) {
			t.Fatalf("row %d of %s has the number %s: %.200s", last[c.key], c.key, c.number, c.what)
		}
	}
}

// rising checks that the rows of each key are in the order of the log.
func rising(t *testing.T, list []came) {
	t.Helper()
	last := map[string]came{}
	for _, c := range list {
		if p := last[c.key]; slices.Compare(c.place[:], p.place[:]) <= 0 && p.key != "" {
			t.Fatalf("%v of %s comes behind %v (replayed: %v, %v)", c.place, c.key, p.place, c.original, p.original)
		}
		last[c.key] = c
	}
}

// replay runs cdcd dlq replay and returns what it says.
func (k *keeper) replay(args ...string) (report struct{ Replayed, Dropped, Refused, Stale, Gone int }, err error) {
	text, err := program(k.t, k.dir, append([]string{"dlq", "replay", k.config, "--json"}, args...)...).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return report, fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	return report, err
}

// replaying replays whatever dead letters there are, over and over, until it is
// stopped. It returns how many were.
func (k *keeper) replaying(ctx context.Context) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	sum := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if r, err := k.replay("--all"); err == nil {
				sum += r.Replayed
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() int {
		cancel()
		wg.Wait()
		return sum
	}
}

// Dead letters are replayed all the while that cdcd, its broker and its database are
// killed and the step is mended and broken again. In the end each row is in the stream
// once, and until somebody forces it, rows of one key are in the order of the log.
// What the step with state keeps is what the stream has.
func TestKillWithReplays(t *testing.T) {
	whateverIsKilled(t, 300, func(t *testing.T, k *keeper, w *oracle.Workload, kills int, dice *rand.Rand) {
		stop := k.replaying(t.Context())
		k.underLoad(w, kills, dice, func() { k.refuse([]int{150, 150, refuseNone, 160}[dice.IntN(4)]) })
		replayed := stop()
		k.refuse(refuseNone)
		k.catchUp(time.Minute + time.Duration(kills)*5*time.Second)
		k.start()
		k.eventually("the daemon", func() error { _, err := k.replay("--all"); return err })
		before := k.came()
		rising(t, before)
		stale := len(k.deadLetters())
		report, err := k.replay("--all", "--force")
		if err != nil || report.Replayed != stale || report.Stale+report.Refused+report.Gone > 0 {
			t.Fatalf("%+v of %d: %v", report, stale, err)
		}
		if left := k.deadLetters(); len(left) > 0 {
			t.Errorf("%d dead letters are left, the first %s", len(left), left[0])
		}
		got := k.came()
		numbered(t, got)
		k.kill()

		once := newKeeper(t, k.db, nil) // reads the whole log, and its step refuses nothing
		once.refuse(refuseNone)
		once.catchUp(3*time.Minute + time.Duration(kills)*5*time.Second)
		once.start()
		want := once.came()
		once.kill()
		originals := 0
		for _, c := range got {
			if c.original {
				originals++
			}
		}
		same(t, "row", sorted(got), sorted(want))
		if originals-stale < kills/2 || stale == 0 {
			t.Errorf("%d rows were replayed while things were killed, and %d forced: too few to say anything", originals-stale, stale)
		}
		t.Logf("%d kills, workload %+v: %d rows, of which %d were replayed (%d by replays that were answered) and %d forced in the end", kills, w.Stats(), len(got), originals-stale, replayed, stale)
	})
}

func sorted(list []came) (out []string) {
	for _, c := range list {
		out = append(out, c.what)
	}
	slices.Sort(out)
	return out
}
