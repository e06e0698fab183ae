package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
)

// A pipeline that follows the log is asked for its tables, over and over, while they
// are written to, and is killed all the time; meanwhile snapshots are paused and
// resumed, and others cancelled. In the end the stream is the tables, no key steps
// back, and what services are told of each snapshot is so.
func TestSnapshotKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills cdcd for a minute")
	}
	kills := killsWanted(t, 8)
	for i, s := range []struct {
		name     string
		database func(testing.TB, ...testserver.Option) *testserver.DB
	}{{"mysql", testserver.MySQL}, {"mariadb", testserver.MariaDB}} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel() // mostly it waits
			c := newCopier(t, s.database(t), 24_000)
			dice := rand.New(rand.NewPCG(uint64(i), 5))
			c.start()
			stop := c.load()
			defer stop()
			first := c.ask(1, nil, "orders", "names")
			if first.State != telemetry.SnapshotQueued && first.State != telemetry.SnapshotRunning || len(first.Tables) != 2 || first.RowsEstimated < 1000 {
				t.Errorf("asked for: %+v", first)
			}
			if _, err := c.snapshot("start", "--table", "shop.names"); !fault.HasCode(err, "snapshot_running") || !strings.Contains(fault.Of(err).Hint, first.ID) {
				t.Errorf("a table that is being copied is asked for again: %v", err)
			}
			during := c.killWhileCopying(kills, dice)
			c.over(c.order[len(c.order)-1])
			part := c.ask(3, nil, "orders", "names")
			c.killNow()
			c.cancelled(part.ID, dice)
			last := c.ask(60, []string{"v", "note"}, "names")
			c.done(last.ID)
			stop()
			c.kill()
			c.catchUp(time.Minute)
			c.start()
			c.judge(first.ID, part.ID, last.ID)
			t.Logf("%d kills, %d of them while a snapshot ran", kills, during)
			if 2*during < kills {
				t.Errorf("of %d kills only %d fell into a snapshot", kills, during)
			}
		})
	}
}

func (c *copier) killNow() {
	c.kill()
	c.start()
}

// killWhileCopying kills while snapshots run, pauses and resumes one now and then, and
// cancels some. It returns how many kills fell into one that ran.
func (c *copier) killWhileCopying(kills int, dice *rand.Rand) (during int) {
	c.t.Helper()
	paused := "" // the snapshot that rests
	for n := range kills {
		id := c.current(dice)
		switch n % 8 {
		case 1:
			if r, over := c.unlessOver("pause", id); !over {
				if paused = id; r.State != telemetry.SnapshotPaused && r.State != telemetry.SnapshotDelivering {
					c.t.Errorf("paused: %+v", r)
				}
			}
		case 2: // it rests since the last kill, and over this one
		case 3:
			if paused != "" {
				c.rests(paused)
				c.unlessOver("resume", paused)
			}
			paused, id = "", c.current(dice)
		case 7:
			if id != c.order[0] && dice.IntN(2) == 0 { // the first one has all rows to tell
				c.cancelled(id, dice)
				id = c.current(dice)
			}
		}
		time.Sleep(time.Duration(dice.IntN(500)) * time.Millisecond)
		if r, ok := c.state(id); ok && r.State == telemetry.SnapshotRunning {
			during++
		}
		c.killNow()
	}
	if paused != "" {
		c.unlessOver("resume", paused)
	}
	return during
}

// current returns the snapshot that runs or rests; where the last one is over, the
// next one is asked for.
func (c *copier) current(dice *rand.Rand) (id string) {
	c.t.Helper()
	c.eventually("a snapshot that runs", func() error {
		id = c.order[len(c.order)-1]
		r, ok := c.state(id)
		switch {
		case ok && (r.State == telemetry.SnapshotRunning || r.State == telemetry.SnapshotPaused):
			return nil
		case !ok || r.Ended == nil:
			return fmt.Errorf("%s is %q", id, r.State)
		}
		var columns []string
		if dice.IntN(3) == 0 {
			columns = []string{"v"}
		}
		tables := [][]string{{"orders", "names"}, {"orders"}, {"orders", "names"}, {"names"}}[dice.IntN(4)]
		c.ask(1+dice.IntN(3), columns, tables...)
		return errors.New("it was just asked for")
	})
	return id
}

// rests checks that a snapshot that was paused two kills ago stands still, unless it
// was over before.
func (c *copier) rests(id string) {
	c.t.Helper()
	var rests telemetry.SnapshotRequest
	c.eventually("the snapshot's rest", func() error {
		if !c.open() {
			return errors.New("the source is not open yet")
		}
		r, ok := c.state(id)
		if rests = r; !ok || r.Ended == nil && r.State == telemetry.SnapshotDelivering {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if rests.Ended != nil {
		return
	}
	if rests.State != telemetry.SnapshotPaused {
		c.t.Errorf("a pause did not survive: %+v", rests)
	}
	time.Sleep(500 * time.Millisecond) // in which it would read 2,500 rows
	if now := c.asked("status", id); now.Rows != rests.Rows {
		c.t.Errorf("it went on while it was paused: from %d rows to %d", rests.Rows, now.Rows)
	}
}

// over waits until a snapshot is done, or was cancelled before.
func (c *copier) over(id string) {
	c.t.Helper()
	c.eventually("the snapshot's end", func() error {
		if r, ok := c.state(id); !ok || r.Ended == nil || r.State == telemetry.SnapshotFailed {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

func (c *copier) done(id string) {
	c.t.Helper()
	c.eventually("the snapshot's end", func() error {
		if r := c.asked("status", id); r.State != telemetry.SnapshotDone {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

// cancelled cancels a snapshot that has begun, unless it is over before, and kills.
func (c *copier) cancelled(id string, dice *rand.Rand) {
	c.t.Helper()
	c.eventually("the snapshot's beginning", func() error {
		if r, ok := c.state(id); !ok || r.Rows < 100 && r.Ended == nil {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if _, over := c.unlessOver("cancel", id); over {
		return
	}
	if dice.IntN(2) == 0 {
		c.killNow()
	}
	c.eventually("the cancellation", func() error {
		if r, ok := c.state(id); !ok || r.State != telemetry.SnapshotCancelled && r.State != telemetry.SnapshotDone {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

func (c *copier) judge(full, part, last string) {
	t := c.t
	t.Helper()
	var r *retold
	c.eventually("the stream", func() error {
		conn, err := nats.Connect(c.url)
		if err == nil {
			conn.Close()
			r = c.told()
		}
		return err
	})
	for _, name := range []string{"orders", "names"} {
		if d := cmp.Diff(c.table(name), r.rows[name]); d != "" {
			t.Errorf("the stream is not shop.%s:\n%.2000s", name, d)
		}
	}
	for _, w := range r.wrong {
		t.Error(w)
	}
	c.compareNews(r)
	if r.reads[full] < c.rows/2 || r.reads[part] == 0 || r.reads[part] > c.rows/2 || r.reads[last] == 0 || r.reads[last] > 100 {
		t.Errorf("rows read by each snapshot: %v", r.reads)
	}
	if r.last[part] > r.begun[last] {
		t.Error("rows of the cancelled snapshot come behind those of the next")
	}
	reads := 0
	for _, n := range r.reads {
		reads += n
	}
	t.Logf("%d rows read by %d snapshots, %d of them whole and %d given up", reads, len(c.order), count(r.news, "snapshot_end"), count(r.news, "snapshot_cancelled"))
}
