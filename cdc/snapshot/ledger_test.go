package snapshot

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
)

// entry is a request on record, and what a test knows of it.
type entry struct {
	cdc.SnapshotRequest
	end   *cdc.SnapshotEnd
	from  int // messages there were when it was made
	until int // when its end was made durable
}

// ledger is a cdc.SnapshotLedger that outlives crashes.
type ledger struct {
	mu      sync.Mutex
	entries []*entry
	changed chan struct{}
	told    func() int // messages of the sink
	lost    []*entry   // with a state that was lost
	// rests says that the copy that the configuration asks for is to rest; known
	// that this is on record.
	rests, known bool
}

func newLedger(told func() int) *ledger {
	return &ledger{changed: make(chan struct{}), told: told}
}

func (l *ledger) Pending() (list []cdc.SnapshotRequest, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rests {
		list = append(list, cdc.SnapshotRequest{Paused: true})
	}
	for _, e := range l.entries {
		if e.end == nil {
			list = append(list, e.SnapshotRequest)
		}
	}
	return list, l.changed
}

func (l *ledger) Found(r cdc.SnapshotRequest) (*cdc.SnapshotEnd, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.ID == 0 {
		if !l.known {
			l.rests, l.known = r.Paused, true
		}
		return nil, nil
	}
	i := slices.IndexFunc(l.entries, func(e *entry) bool { return e.ID == r.ID })
	if i < 0 {
		e := &entry{SnapshotRequest: r}
		if i = slices.IndexFunc(l.lost, func(e *entry) bool { return e.ID == r.ID }); i >= 0 {
			e.from = l.lost[i].from
		}
		l.entries = append(l.entries, e)
		slices.SortFunc(l.entries, func(a, b *entry) int { return int(a.ID) - int(b.ID) })
		return nil, nil
	}
	e := l.entries[i]
	if e.end != nil && (e.end.Cancelled || e.end.Err != nil) {
		return e.end, nil
	}
	e.end = nil
	return nil, nil
}

// rest lets the copy that the configuration asks for rest, or go on.
func (l *ledger) rest(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rests, l.known = is, true
	l.news()
}

func (l *ledger) Undone(past uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.ID > past && e.end != nil && !e.end.Cancelled && e.end.Err == nil {
			e.end = nil
		}
	}
	return nil
}

func (l *ledger) End(id uint64, end cdc.SnapshotEnd) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.ID == id && e.end == nil {
			e.end, e.until = &end, l.told()
		}
	}
	l.news()
	return nil
}

func (l *ledger) news() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// add makes a request, if its tables are free.
func (l *ledger) add(tables []string, where string, past uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{from: l.told(), SnapshotRequest: cdc.SnapshotRequest{ID: past + 1, Where: where}}
	for _, o := range l.entries {
		e.ID = max(e.ID, o.ID+1)
		for _, t := range o.Tables {
			if o.end == nil && slices.Contains(tables, t.Table) {
				return
			}
		}
	}
	for _, o := range l.lost {
		e.ID = max(e.ID, o.ID+1)
	}
	for _, t := range tables {
		e.Tables = append(e.Tables, cdc.TableName{DB: "d", Table: t})
	}
	l.entries = append(l.entries, e)
	l.news()
}

// each changes the requests that are pending.
func (l *ledger) each(f func(*entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.end == nil {
			f(e)
		}
	}
	l.news()
}

// lose is the loss of the state.
func (l *ledger) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, l.entries...)
	l.entries = nil
	l.rests, l.known = false, false
}

// person asks for copies, pauses, resumes and cancels them until ctx ends.
func (l *ledger) person(ctx context.Context, seed uint64, tables int, k *Copier) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for sleep(ctx, time.Duration(rng.IntN(4000))*time.Microsecond) == nil {
		switch rng.IntN(9) {
		case 8:
			l.rest(rng.IntN(3) == 0)
		case 0, 1, 2:
			some := []string{"t" + strconv.Itoa(rng.IntN(tables))}
			if other := "t" + strconv.Itoa(rng.IntN(tables)); other != some[0] {
				some = append(some, other)
			}
			l.add(some, []string{"", "", "odd"}[rng.IntN(3)], k.Progress().Past)
		case 3, 4:
			l.each(func(e *entry) { e.Paused = e.Paused || rng.IntN(2) == 0 })
		case 5, 6:
			l.each(func(e *entry) { e.Paused = e.Paused && rng.IntN(3) == 0 })
		case 7:
			l.each(func(e *entry) { e.Cancelled = e.Cancelled || rng.IntN(4) == 0 })
		}
	}
}
