package snapshot

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

// copyTold is what the messages so far tell of one copy.
type copyTold struct {
	begun int // message; -1 before it
	over  bool
	news  *cdc.SnapshotNews // of its beginning
}

// judgeNews checks what is told of copies: each begins once, is over once, and has
// all its rows between the two; and when it ends, every row that there is was told
// since it began, by it or by the stream.
func judgeNews(m *model, all []message) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	copies := map[uint64]*copyTold{}
	there, told := map[string]bool{}, map[string]int{}
	for i, msg := range all {
		if msg.news == nil {
			if c := copies[requestIn(msg.tx)]; msg.snapshot && (c == nil || c.over) {
				bad("message %d: a row of %d outside of it", i, requestIn(msg.tx))
			}
			noteImages(m, msg, there, func(k string) { told[k] = i })
			continue
		}
		n := msg.news
		c := copies[n.Request]
		switch {
		case n.Event == cdc.SnapshotBegun && c == nil:
			copies[n.Request] = &copyTold{begun: i, news: n}
			continue
		case n.Event == cdc.SnapshotBegun || c == nil || c.over:
			bad("message %d: %+v, told before: %+v", i, n, c)
			continue
		case fmt.Sprint(n.Tables, n.Where) != fmt.Sprint(c.news.Tables, c.news.Where):
			bad("message %d: %+v has begun as %+v", i, n, c.news)
		}
		c.over = true
		for k := range there {
			table, key, _ := strings.Cut(k, "/")
			number, _ := strconv.Atoi(key)
			of := n.Request == 0 || slices.Contains(n.Tables, "d."+table) && (n.Where == "" || number%2 == 1)
			if n.Event == cdc.SnapshotEnded && there[k] && of && told[k] < c.begun {
				bad("message %d: the end of %d, which lacks %s", i, n.Request, k)
			}
		}
	}
	return wrong
}

// noteImages notes which keys are there behind a message, and tells of those that
// it has.
func noteImages(m *model, msg message, there map[string]bool, tell func(key string)) {
	if msg.row.op == sdk.OpTruncate {
		maps.DeleteFunc(there, func(k string, _ bool) bool { return strings.HasPrefix(k, msg.row.table+"/") })
		return
	}
	if !msg.snapshot && msg.row.op != sdk.OpInsert {
		k := m.key(msg.row.table, msg.row.before[0])
		delete(there, k)
		tell(k)
	}
	if msg.row.op != sdk.OpDelete {
		k := m.key(msg.row.table, msg.row.after[0])
		there[k] = true
		tell(k)
	}
}

// judgeEnds checks that what was told of each request is what is on record.
func (s *requests) judgeEnds(all []message) (wrong []string) {
	last := map[uint64]cdc.SnapshotEvent{}
	for _, msg := range all {
		if msg.news != nil {
			last[msg.news.Request] = msg.news.Event
		}
	}
	for _, e := range s.l.entries {
		event, begun := last[e.ID]
		switch {
		case e.end == nil:
			wrong = append(wrong, fmt.Sprintf("request %d is not over", e.ID))
		case e.end.Cancelled && begun && event != cdc.SnapshotCancelled, !e.end.Cancelled && event != cdc.SnapshotEnded:
			wrong = append(wrong, fmt.Sprintf("request %d is on record as %+v, and told as %d", e.ID, *e.end, event))
		}
	}
	if event, begun := last[0]; s.initial != begun || s.initial && event != cdc.SnapshotEnded {
		wrong = append(wrong, fmt.Sprintf("of the copy that the configuration asks for is told %d", event))
	}
	return wrong
}

// events are what is told, in order: "begun 0".
func (r *recorder) events() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := [...]string{"begun", "ended", "cancelled", "failed"}
	for _, msg := range r.all {
		if n := msg.news; n != nil {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %d %s", names[n.Event], n.Request, n.Code)))
		}
	}
	return list
}

// The copy that the configuration asks for rests, over a restart, also where the
// state is lost; goes on, and is told of once. Where the configuration does not ask for
// it any more it is given up.
func TestInitialRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(1, 3)
		m.changed(40)
		r := &recorder{left: 1 << 30}
		l := newLedger(func() int { return 0 })
		begin := func(dormant bool) (k *Copier, kill func()) {
			at, c, inside := 40, Cursor{}, false
			if r.at != "" {
				at, c, inside = exact(r.at)
			}
			ctx, cancel := context.WithCancel(t.Context())
			k = New(Options{Database: m, Emit: r.emit, Patterns: []string{"all"}, Workers: 2, Limits: Limits{Rows: 5, Bytes: 1 << 20}, Dormant: dormant, Ledger: l}, c, pos(at), "", inside)
			idle := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() { _ = m.stream(ctx, rand.New(rand.NewPCG(1, 1)), at, k) })
			all.Go(func() { _ = k.Serve(ctx, l, idle) })
			if !dormant {
				all.Go(func() {
					if err := k.Run(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				})
			}
			return k, func() { cancel(); all.Wait() }
		}
		rows := func() int {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.all) - len(r.newsOf())
		}
		k, kill := begin(false)
		for rows() < 7 {
			time.Sleep(time.Microsecond)
		}
		l.rest(true)
		time.Sleep(time.Second)
		had := rows()
		if k.Complete() || k.Progress().Waiting != whyPaused {
			t.Fatalf("it did not rest: %+v", k.Progress())
		}
		kill()
		_, kill = begin(false)
		time.Sleep(time.Minute)
		kill()
		l.lose()
		_, kill = begin(false)
		time.Sleep(time.Minute)
		if pending, _ := l.Pending(); len(pending) != 1 || !pending[0].Paused || rows() != had {
			t.Errorf("of the pause is left %+v, and %d rows were read", pending, rows()-had)
		}
		kill()
		_, kill = begin(true)
		time.Sleep(time.Second)
		kill()
		l.rest(false)
		k, kill = begin(false)
		time.Sleep(time.Minute)
		kill()
		if got, want := fmt.Sprint(r.events()), "[begun 0 cancelled 0 begun 0 ended 0]"; got != want || !k.Complete() {
			t.Errorf("told: %s, want %s", got, want)
		}
	})
}

// newsOf are the messages that are no rows. The caller holds mu.
func (r *recorder) newsOf() (list []message) {
	for _, msg := range r.all {
		if msg.news != nil {
			list = append(list, msg)
		}
	}
	return list
}
