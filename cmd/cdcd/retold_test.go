package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/oracle"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/sdk/consume"
)

// retold is what the stream tells.
type retold struct {
	rows  map[string]map[int64]string // by table and key
	reads map[string]int              // by snapshot
	last  map[string]uint64           // of each snapshot, the message that was read last
	news  []string                    // what is told of snapshots
	wrong []string

	asks   map[string]*ask
	begun  map[string]uint64           // of each snapshot, the message that tells of it
	latest map[string]map[int64]uint64 // by table and key, the last message that has it
}

func (r *retold) bad(format string, args ...any) {
	if len(r.wrong) < 10 {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

// control notes what is told of snapshots: each begins once and is over once, and
// when it ends, every row that it was asked for was told since it began.
func (r *retold) control(m oracle.Message) {
	kind := m.Header["Cdc-Kind"][0]
	if !strings.HasPrefix(kind, "snapshot_") {
		return
	}
	var body struct{ Snapshot string }
	if err := json.Unmarshal(m.Body, &body); err != nil {
		r.bad("message %d: %v", m.Sequence, err)
	}
	id := body.Snapshot
	r.news = append(r.news, kind+" "+id)
	asked, begun := r.asks[id], r.begun[id]
	if kind == "snapshot_begin" == (begun > 0) || asked == nil || asked.ended == kind {
		r.bad("message %d: %s of %s, begun at %d", m.Sequence, kind, id, begun)
		return
	}
	if kind == "snapshot_begin" {
		r.begun[id] = m.Sequence
		return
	}
	if asked.ended = kind; kind != "snapshot_end" {
		return
	}
	for _, table := range asked.tables {
		for key := range r.rows[table] {
			if key%asked.mod == 0 && r.latest[table][key] < begun {
				r.bad("message %d: %s has ended, and lacks %s %d", m.Sequence, id, table, key)
			}
		}
	}
}

// told reads the stream, folds it, and notes each key whose image steps back and
// each row that a snapshot has twice.
func (c *copier) told() *retold {
	c.t.Helper()
	conn, err := nats.Connect(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	r := &retold{rows: map[string]map[int64]string{"orders": {}, "names": {}}, reads: map[string]int{}, last: map[string]uint64{},
		asks: c.asks, begun: map[string]uint64{}, latest: map[string]map[int64]uint64{"orders": {}, "names": {}}}
	for _, a := range c.asks {
		a.ended = ""
	}
	newest, places := map[string]int64{}, map[string]bool{}
	type image struct {
		ID, V int64
		Note  *string // nil where it was not asked for
	}
	_, err = oracle.Read(c.t.Context(), conn, "SHOP", func(m oracle.Message) {
		var body struct {
			Op            string
			Before, After *image
			Source        struct{ Table string }
		}
		if len(m.Header["Cdc-Kind"]) > 0 {
			r.control(m)
			return
		}
		if err := json.Unmarshal(m.Body, &body); err != nil {
			c.t.Fatalf("%v: %s", err, m.Body)
		}
		place := m.Header["Cdc-Pos"][0]
		if places[place] {
			r.bad("twice: %s", place)
		}
		places[place] = true
		if body.Op == "r" {
			id := "initial"
			if parts := strings.Split(place, "/"); len(parts) == 6 { // the last slash is that of part/parts
				id = parts[1]
			}
			r.reads[id]++
			r.last[id] = m.Sequence
			if a := c.asks[id]; a == nil || r.begun[id] == 0 || a.ended != "" {
				r.bad("message %d: a row of %s, outside of it", m.Sequence, id)
			}
		}
		step := func(i *image, v int64) {
			key := fmt.Sprintf("%s %d", body.Source.Table, i.ID)
			if v < newest[key] {
				r.bad("message %d: %s steps back from %d to %d (op %s, %s)", m.Sequence, key, newest[key], v, body.Op, place)
			}
			newest[key] = max(newest[key], v)
			r.latest[body.Source.Table][i.ID] = m.Sequence
		}
		rows := r.rows[body.Source.Table]
		note := ""
		if a := body.After; a != nil && a.Note != nil {
			note = *a.Note
		} else if a != nil { // as it was
			note = rows[a.ID][strings.LastIndex(rows[a.ID], "|")+1:]
		}
		if b := body.Before; b != nil {
			delete(rows, b.ID)
			step(b, 2*b.V+1)
		}
		if a := body.After; a != nil {
			rows[a.ID] = fmt.Sprintf("%d|%d|%s", a.ID, a.V, note)
			step(a, 2*a.V)
		}
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func count(all []string, word string) (n int) {
	for _, text := range all {
		if strings.Contains(text, word) {
			n++
		}
	}
	return n
}

// compareNews compares what the stream tells of snapshots with what is on record, and
// with what the library hands to a service.
func (c *copier) compareNews(r *retold) {
	t := c.t
	t.Helper()
	conn, err := nats.Connect(c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reader, err := consume.Open(t.Context(), conn, consume.Config{Stream: "SHOP", Snapshots: true, UntilCaughtUp: true})
	if err != nil {
		t.Fatal(err)
	}
	var news []string
	if err := reader.Run(t.Context(), func(_ context.Context, tx *consume.Tx) error {
		if s := tx.Snapshot; s != nil {
			news = append(news, fmt.Sprintf("%s %s", s.Event, s.ID))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r.news, news); d != "" {
		t.Errorf("what a service is told (-stream +service):\n%s", d)
	}
	kinds := map[string]string{telemetry.SnapshotDone: "snapshot_end", telemetry.SnapshotCancelled: "snapshot_cancelled"}
	for _, id := range c.order[max(0, len(c.order)-100):] { // so many are kept
		on, ok := c.state(id)
		if !ok {
			t.Errorf("%s is not on record", id)
		}
		if want := kinds[on.State]; c.asks[id].ended != want && (want != "snapshot_cancelled" || r.begun[id] > 0) {
			t.Errorf("%s is on record as %s, and told as %q", id, on.State, c.asks[id].ended)
		}
	}
}
