package snapshot

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is what a sink keeps of a row: enough to resume behind it.
type message struct {
	base     sdk.Position // of its batch
	end      sdk.Position // of its batch; exact there
	last     bool         // of its batch
	tx       string
	ordinal  uint64
	ends     bool // the transaction has no more
	row      modelRow
	columns  int
	snapshot bool
	news     *cdc.SnapshotNews // in place of a row
}

// recorder is a pipeline and its sink: it keeps rows until it is cut off.
type recorder struct {
	mu      sync.Mutex
	all     []message
	left    int // rows until the crash
	slow    int // every so many batches one takes long; 0 for none
	batches int
	crash   context.CancelCauseFunc
	skipTx  string // rows of it are there up to
	skipRow uint64
	copier  *Copier
	at      sdk.Position
}

var errCrash = errors.New("crash")

func (r *recorder) emit(_ context.Context, b *cdc.Batch) error {
	if r.batches++; r.slow > 0 && r.batches%r.slow == 0 { // longer than a view is kept
		time.Sleep(viewMax + time.Second)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.News != nil {
		if r.left == 0 {
			r.crash(errCrash)
			return errCrash
		}
		r.left--
		r.all = append(r.all, message{base: b.End, end: b.End, last: true, ends: true, news: b.News})
	}
	for i := range b.Rows() {
		row := b.Row(i)
		id := string(row.Tx().ID())
		if r.skipTx != "" && id == r.skipTx && row.Ordinal() <= r.skipRow {
			continue
		}
		r.skipTx = ""
		if r.left == 0 {
			r.crash(errCrash)
			return errCrash
		}
		r.left--
		tx := row.Tx()
		m := message{base: b.Begin, end: b.End, last: i == b.Rows()-1, tx: id, ordinal: row.Ordinal(), snapshot: b.Snapshot,
			ends: tx.Ends() && i == tx.FirstRow()+tx.Rows()-1, columns: row.Columns()}
		m.row = modelRow{op: row.Op(), table: row.Schema().Table}
		if v := row.Before(); v.Valid() {
			m.row.before = [2]int64{v.Int(0), v.Int(1)}
		}
		if v := row.After(); v.Valid() {
			m.row.after = [2]int64{v.Int(0), v.Int(1)}
		}
		r.all = append(r.all, m)
	}
	r.at = b.End
	b.Release()
	return nil
}

// resume says where to go on behind the last message: at which transaction of
// the log, with which cursor, and whether inside a transaction.
func (r *recorder) resume(rng *rand.Rand) (at int, c Cursor, inside bool) {
	r.skipTx = ""
	if len(r.all) == 0 {
		return 0, Cursor{}, false
	}
	last := r.all[len(r.all)-1]
	if last.last && last.ends && rng.IntN(2) == 0 { // a checkpoint names it
		return exact(last.end)
	}
	at, c, _ = exact(last.base)
	if last.news != nil {
		return at, c, false
	}
	if last.snapshot {
		c, err := c.Behind(last.tx, true)
		if err != nil {
			panic(err)
		}
		return at, c, false
	}
	n, err := strconv.Atoi(strings.TrimPrefix(last.tx, "tx"))
	if err != nil {
		panic(err)
	}
	r.skipTx, r.skipRow = last.tx, last.ordinal
	return n, c, true
}

func exact(p sdk.Position) (at int, c Cursor, inside bool) {
	at, text := parsePos(p)
	c, err := ParseCursor(text)
	if err != nil {
		panic(err)
	}
	return at, c, false
}

// simulate copies the model's tables beside its stream, with crashes, until
// everything is delivered. It returns the messages.
func simulate(t *testing.T, m *model, seed uint64, crashes int) []message {
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 40 {
		m.flush()
	}
	for range 40 - rng.IntN(5) {
		m.show()
	}
	// What is in the tables before the beginning is not in the stream.
	var writer sync.WaitGroup
	writer.Go(func() { m.write(150) })
	r := &recorder{slow: 97}
	start := 40
	first := true
	for ; ; crashes-- {
		at, c, inside := r.resume(rng)
		if first || at == 0 && len(r.all) == 0 {
			at = start
		}
		first = false
		r.left = rng.IntN(80)
		if crashes <= 0 {
			r.left = 1 << 30
		}
		if r.run(t, m, rng, at, c, inside, crashes <= 0, &writer) {
			return r.all
		}
	}
}

// run is one life of the process. It reports whether everything is delivered.
func (r *recorder) run(t *testing.T, m *model, rng *rand.Rand, at int, c Cursor, inside, last bool, writer *sync.WaitGroup) bool {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r.crash, r.at = cancel, pos(at)
	k := New(Options{Database: m, Emit: r.emit, Patterns: []string{"all"}, Workers: 3, Limits: Limits{Rows: 50, Bytes: 1 << 20}, LoadMax: 5}, c, pos(at), "", inside)
	k.pool.rows = 1 + rng.IntN(6)
	if rng.IntN(2) == 0 { // so that little is held, and noted
		k.o.Limits.Bytes, k.touchedMax = 1, 100+rng.IntN(1000)
	}
	var both sync.WaitGroup
	both.Go(func() {
		if err := m.stream(ctx, rng, at, k); ctx.Err() == nil {
			t.Errorf("stream: %v", err)
		}
	})
	both.Go(func() {
		if err := k.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("copy: %v", err)
			cancel(err)
		}
	})
	if last {
		both.Go(func() {
			writer.Wait()
			for ctx.Err() == nil {
				m.mu.Lock()
				all := len(m.log)
				m.mu.Unlock()
				r.mu.Lock()
				p := r.at
				r.mu.Unlock()
				if n, _ := parsePos(p); k.Complete() && n == all {
					cancel(nil)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	both.Wait()
	return last
}

// judge checks what the copy promises, and returns what is wrong.
func judge(m *model, all []message) (wrong []string) {
	state := map[string]int64{}   // key -> version, what a consumer has
	newest := map[string]int64{}  // the newest version that was ever told, deletes included
	read := map[string]int{}      // how often a key was read
	seen := map[string]bool{}     // rows of the log
	emptied := map[string]int64{} // by table: the last TRUNCATE
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for i, msg := range all {
		if msg.news != nil {
			continue
		}
		if msg.snapshot {
			k := m.key(msg.row.table, msg.row.after[0])
			if v := msg.row.after[1]; v < newest[k] || v <= emptied[msg.row.table] {
				bad("message %d: %s read at version %d behind %d", i, k, v, newest[k])
			}
			if read[k]++; read[k] > 1 {
				bad("message %d: %s read again", i, k)
			}
			state[k] = msg.row.after[1]
			newest[k] = max(newest[k], msg.row.after[1])
			continue
		}
		id := fmt.Sprintf("%s#%d", msg.tx, msg.ordinal)
		if seen[id] {
			bad("message %d: %s doubled", i, id)
		}
		seen[id] = true
		n, _ := strconv.ParseInt(strings.TrimPrefix(msg.tx, "tx"), 10, 64)
		v := n + 1
		if msg.row.op == sdk.OpTruncate {
			emptied[msg.row.table] = v
			maps.DeleteFunc(state, func(k string, _ int64) bool { return strings.HasPrefix(k, msg.row.table+"/") })
			continue
		}
		for i, image := range [][2]int64{msg.row.before, msg.row.after} {
			if i == 0 && msg.row.op == sdk.OpInsert || i == 1 && msg.row.op == sdk.OpDelete {
				continue
			}
			k := m.key(msg.row.table, image[0])
			if v < newest[k] {
				bad("message %d: %s steps back from version %d to %d", i, k, newest[k], v)
			}
			newest[k] = max(newest[k], v)
		}
		if msg.row.op != sdk.OpInsert {
			delete(state, m.key(msg.row.table, msg.row.before[0]))
		}
		if msg.row.op != sdk.OpDelete {
			state[m.key(msg.row.table, msg.row.after[0])] = msg.row.after[1]
		}
	}
	for at, tx := range m.log[40:] {
		for i := range tx.rows {
			if id := fmt.Sprintf("tx%d#%d", at+40, i); !seen[id] {
				bad("%s is lost", id)
			}
		}
	}
	if diff := cmp.Diff(m.final, state); diff != "" {
		bad("the stream is not the tables:\n%s", diff)
	}
	return wrong
}

// seeds is how many runs a simulation has: in the short form, which is for the race
// detector, a fifth of them.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 5
	}
	return n
}

// Whatever the writers do and wherever it is cut off: no key's image steps back,
// nothing is lost or doubled, and what the stream tells are the tables.
func TestSimulation(t *testing.T) {
	ended := 0
	for seed := range seeds(400) {
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(seed, 3)
				m.breaks = int(seed % 3)
				all := simulate(t, m, seed, int(seed%6))
				for _, age := range m.ended {
					if ended++; age > 2*viewMax+time.Second {
						t.Errorf("a view was kept for %v", age)
					}
				}
				for i, w := range append(judge(m, all), judgeNews(m, all)...) {
					if i > 5 {
						break
					}
					t.Error(w)
				}
			})
		}) {
			return
		}
	}
	if ended == 0 {
		t.Error("no view was ended while a batch was waited for")
	}
	t.Logf("%d views were ended while a batch was waited for", ended)
}

// The test can fail: with the log's end as the low mark, rows step back; and so
// they do with a high mark from before the view.
func TestWrongMarks(t *testing.T) {
	for name, mistake := range map[string]func(*model){
		"the log's end as low mark":        func(m *model) { m.lowIsFlushed = true },
		"a high mark from before the view": func(m *model) { m.highIsEarly = true },
	} {
		found := 0
		for seed := range uint64(60) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(seed, 3)
				mistake(m)
				if len(judge(m, simulate(t, m, seed, 0))) > 0 {
					found++
				}
			})
		}
		if found == 0 {
			t.Errorf("%s: an old image behind a newer one is not noticed", name)
		}
		t.Logf("%s: %d of 60 runs show an old image behind a newer one", name, found)
	}
}
