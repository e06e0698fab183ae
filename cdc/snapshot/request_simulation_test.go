package snapshot

import (
	"context"
	"fmt"
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

// requests is a simulation of copies that are asked for beside the stream.
type requests struct {
	t       *testing.T
	m       *model
	l       *ledger
	rng     *rand.Rand
	seed    uint64
	initial bool // all tables are copied first
	keep    bool // the ledger is never lost
	person  bool
	tables  int
}

func (s *requests) simulate(crashes int) []message {
	for range 40 {
		s.m.flush()
	}
	for range 40 - s.rng.IntN(5) {
		s.m.show()
	}
	var writer sync.WaitGroup
	writer.Go(func() { s.m.write(250) })
	r := &recorder{}
	s.l = newLedger(func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.all)
	})
	for life := 0; ; life++ {
		at, c, inside := r.resume(s.rng)
		if len(r.all) == 0 {
			at = 40
		}
		r.left = s.rng.IntN(90)
		if life >= crashes {
			r.left = 1 << 30
		}
		s.life(r, at, c, inside, life, life >= crashes, &writer)
		if life >= crashes {
			return r.all
		}
		if !s.keep && s.rng.IntN(4) == 0 {
			s.l.lose()
		}
	}
}

// life is one life of the process.
func (s *requests) life(r *recorder, at int, c Cursor, inside bool, n int, last bool, writer *sync.WaitGroup) {
	ctx, cancel := context.WithCancelCause(s.t.Context())
	defer cancel(nil)
	r.crash, r.at = cancel, pos(at)
	k := New(Options{Database: s.m, Emit: s.confirming(r), Patterns: []string{"all"}, Workers: 3, Limits: Limits{Rows: 50, Bytes: 1 << 20},
		LoadMax: 5, Dormant: !s.initial, Ledger: s.l, Heard: true}, c, pos(at), "", inside)
	r.copier = k
	var all sync.WaitGroup
	run := func(what string, f func() error) {
		all.Go(func() {
			if err := f(); ctx.Err() == nil && (err != nil || what != "copy") {
				s.t.Errorf("%s: %v", what, err)
				cancel(err)
			}
		})
	}
	idle := make(chan struct{})
	run("stream", func() error { return s.m.stream(ctx, s.rng, at, k) })
	run("serve", func() error { return k.Serve(ctx, s.l, idle) })
	if s.initial {
		run("copy", func() error {
			err := k.Run(ctx)
			if err == nil {
				close(idle)
			}
			return err
		})
	} else {
		close(idle)
	}
	busy, rest := context.WithCancel(ctx)
	defer rest()
	if s.person {
		all.Go(func() { s.l.person(busy, s.seed*31+uint64(n), s.tables, k) })
	}
	if last {
		all.Go(func() {
			writer.Wait()
			rest()
			for ctx.Err() == nil && !s.over(r, k) {
				s.l.each(func(e *entry) { e.Paused = false })
				s.l.rest(false)
				time.Sleep(time.Millisecond)
			}
			cancel(nil)
		})
	}
	all.Wait()
}

// over reports whether all is delivered.
func (s *requests) over(r *recorder, k *Copier) bool {
	s.m.mu.Lock()
	all := len(s.m.log)
	s.m.mu.Unlock()
	r.mu.Lock()
	p := r.at
	r.mu.Unlock()
	pending, _ := s.l.Pending()
	n, c := parsePos(p)
	done := !s.initial
	told := true // also of those that are over in the ledger, which is written first
	if cur, err := ParseCursor(c); err == nil {
		done = !s.initial || cur.Complete([]string{"all"})
		told = len(cur.Requests) == 0
	}
	if k.Awaits() {
		if cur, err := ParseCursor(c); err == nil {
			k.Confirm(&cur)
		}
	}
	return n == all && len(pending) == 0 && len(k.Progress().Requests) == 0 && done && told
}

// confirming hands on to r, and confirms now and then.
func (s *requests) confirming(r *recorder) func(context.Context, *cdc.Batch) error {
	rng := rand.New(rand.NewPCG(s.rng.Uint64(), 4)) // batches come one after the other
	return func(ctx context.Context, b *cdc.Batch) error {
		end := b.End
		if rng.IntN(3) == 0 { // the pipeline has no room at once
			if err := sleep(ctx, time.Duration(rng.IntN(2000))*time.Microsecond); err != nil {
				b.Release()
				return err
			}
		}
		err := r.emit(ctx, b)
		if _, text := parsePos(end); err == nil && rng.IntN(5) == 0 && r.copier.Awaits() {
			if cur, err := ParseCursor(text); err == nil {
				r.copier.Confirm(&cur)
			}
		}
		return err
	}
}

// requestIn returns the number of the request that a row was read for.
func requestIn(tx string) (id uint64) {
	if parts := strings.Split(tx, "/"); len(parts) == 5 {
		id, _ = strconv.ParseUint(parts[1], 36, 64)
	}
	return id
}

// judge checks what a request promises, and that beside it nothing is otherwise.
func (s *requests) judge(all []message) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	newest, read, emptied := map[string]int64{}, map[string]bool{}, map[string]int64{}
	last := map[string]int{} // message that told of a key
	reads := map[uint64][]int{}
	for i, msg := range all {
		if msg.news != nil {
			continue
		}
		id := requestIn(msg.tx)
		k := s.m.key(msg.row.table, msg.row.after[0])
		if msg.snapshot {
			reads[id] = append(reads[id], i)
			if v := msg.row.after[1]; v < newest[k] || v <= emptied[msg.row.table] {
				bad("message %d: %s read at version %d behind %d", i, k, v, newest[k])
			}
			if once := fmt.Sprint(id, " ", k); read[once] {
				bad("message %d: %s read again for request %d", i, k, id)
			} else {
				read[once] = true
			}
			newest[k], last[k] = max(newest[k], msg.row.after[1]), i
			continue
		}
		n, _ := strconv.ParseInt(strings.TrimPrefix(msg.tx, "tx"), 10, 64)
		if msg.row.op == sdk.OpTruncate {
			emptied[msg.row.table] = n + 1
			continue
		}
		for b, image := range [][2]int64{msg.row.before, msg.row.after} {
			if b == 0 && msg.row.op == sdk.OpInsert || b == 1 && msg.row.op == sdk.OpDelete {
				continue
			}
			k := s.m.key(msg.row.table, image[0])
			newest[k], last[k] = max(newest[k], n+1), i
		}
	}
	for _, e := range s.l.entries {
		switch {
		case e.end == nil:
			bad("request %d never ends: %+v, asked for at %d", e.ID, e.SnapshotRequest, e.from)
		case e.end.Err != nil:
			bad("request %d: %v", e.ID, e.end.Err)
		case e.end.Cancelled:
			if at := reads[e.ID]; len(at) > 0 && at[len(at)-1] >= e.until {
				bad("request %d: message %d behind its cancellation at %d", e.ID, at[len(at)-1], e.until)
			}
		default:
			for k := range s.m.final {
				table, key, _ := strings.Cut(k, "/")
				n, _ := strconv.Atoi(key)
				if !slices.Contains(e.Tables, cdc.TableName{DB: "d", Table: table}) || e.Where == "odd" && n%2 == 0 {
					continue
				}
				if at, told := last[k]; !told || at < e.from {
					bad("request %d lacks %s", e.ID, k)
				}
			}
		}
	}
	return wrong
}

// Whenever copies are asked for, paused, resumed and cancelled beside the stream,
// and wherever it is cut off: no key's image steps back, a request reads each row
// at most once and ends with all of them, nothing comes behind a cancellation,
// and the stream is what it is without.
func TestRequests(t *testing.T) {
	done, cancelled, adopted := 0, 0, 0
	runs := seeds(300)
	for seed := range runs {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &requests{t: t, m: newModel(seed, 3), rng: rand.New(rand.NewPCG(seed, 2)), seed: seed,
					initial: seed%2 == 0, keep: seed%3 > 0, person: true, tables: 3}
				s.m.breaks = int(seed % 3)
				all := s.simulate(int(seed % 7))
				var wrong []string
				if s.initial {
					for _, w := range judge(s.m, slices.DeleteFunc(slices.Clone(all), func(m message) bool { return requestIn(m.tx) > 0 })) {
						if !strings.Contains(w, "the stream is not the tables") { // judged below, with all
							wrong = append(wrong, w)
						}
					}
				}
				wrong = append(append(wrong, s.judge(all)...), judgeNews(s.m, all)...)
				wrong = append(wrong, s.judgeEnds(all)...)
				for i, w := range wrong {
					if i > 5 {
						break
					}
					t.Error(w)
				}
				for _, e := range s.l.entries {
					if e.end != nil && e.end.Cancelled {
						cancelled++
					} else {
						done++
					}
				}
				adopted += len(s.l.lost)
			})
		}) {
			return
		}
	}
	t.Logf("%d requests done, %d cancelled, %d lost with the state", done, cancelled, adopted)
	if n := int(runs); done < n/3 || cancelled < n/6 || adopted < n/15 {
		t.Error("too few to say anything")
	}
}
