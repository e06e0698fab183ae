package mysql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The size of the large transaction: beyond 4 GiB with CDCD_TEST_LARGE=1 (make
// test-large), where the log's 32-bit places wrap.
func largeSize() (rows, width int) {
	if os.Getenv("CDCD_TEST_LARGE") != "" {
		return 1_000_000, 4500
	}
	return 50_000, 3500 // 166 MiB, more than twice of what reading may take
}

const (
	largeBudget  = 8 << 20
	largeRSSMore = 64 << 20 // what reading may add to the process
)

// fill writes n rows of a width in one transaction.
func fill(t testing.TB, db *testserver.DB, n, width int) {
	t.Helper()
	// The log is what counts: an engine that keeps nothing is quick. It logs
	// inserts as any other does.
	_ = db.Try("INSTALL SONAME 'ha_blackhole'") // MariaDB's; MySQL has it
	db.Exec(t, "SET SESSION sql_mode=''", "CREATE DATABASE shop",
		"CREATE TABLE shop.orders (id INT PRIMARY KEY, note MEDIUMTEXT) CHARSET latin1 ENGINE=BLACKHOLE",
		"CREATE TABLE shop.seq (n INT PRIMARY KEY)", "INSERT INTO shop.seq VALUES (1)")
	for have := 1; have < n; have *= 2 {
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.seq SELECT n+%d FROM shop.seq WHERE n+%d <= %d", have, have, n))
	}
	db.Exec(t, fmt.Sprintf("INSERT INTO shop.orders SELECT n, REPEAT('y', %d) FROM shop.seq ORDER BY n", width))
}

// rss returns the process's resident memory that is of no file: the pages of its
// executable come and go with what the machine has room for.
func rss(t testing.TB) int64 {
	t.Helper()
	p, err := os.ReadFile("/proc/self/status")
	if err != nil {
		skip.For(t, "/proc/self/status, where resident memory is measured")
	}
	_, anonymous, _ := strings.Cut(string(p), "RssAnon:")
	n, err := strconv.ParseInt(strings.Fields(anonymous + " kB")[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// largeReader takes the rows of one transaction, in order, and remembers how
// far it has come: what a pipeline's sink does.
type largeReader struct {
	t     testing.TB
	next  uint64 // ordinal of the next row
	start cdc.Start
	peak  int64
	share *budget.Share
	used  int64
	parts int
}

var errEnough = errors.New("enough")

// read reads until rows ordinals are there, or emit's own idea.
func (l *largeReader) read(src *Source, until uint64, each func()) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Minute)
	defer cancel()
	err := src.Run(ctx, l.start, func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		l.used = max(l.used, l.share.Used())
		if l.parts++; l.parts%256 == 0 {
			l.peak = max(l.peak, rss(l.t))
		}
		for i := range b.Rows() {
			r := b.Row(i)
			switch {
			case r.Ordinal() < l.next && l.start.Tx != "": // delivered before the restart
				continue
			case r.Ordinal() != l.next || r.After().Int(0) != int64(l.next)+1:
				return fmt.Errorf("row %d has id %d where %d was due", r.Ordinal(), r.After().Int(0), l.next)
			}
			l.next++
			l.start = cdc.Start{Base: b.Begin, Tx: string(r.Tx().ID()), Rows: l.next}
		}
		if b.Begin != b.End && l.next > 0 {
			l.start = cdc.Start{Base: b.End}
		}
		if each != nil {
			each()
		}
		if l.next >= until && (until%2 == 1 || l.start.Tx == "") {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		l.t.Fatalf("%v at row %d; %+v", err, l.next, src.Status())
	}
}

// TestLargeTransaction reads one within a small budget, is stopped inside, cut
// inside, and goes on: no row is lost or comes twice, and memory stays flat.
func TestLargeTransaction(t *testing.T) {
	n, width := largeSize()
	test := func(t *testing.T, db *testserver.DB, mode string) {
		db.Exec(t, "SET GLOBAL max_binlog_size=1073741824")
		fill(t, db, n, width)
		b := budget.New(largeBudget)
		share := b.Share(1 << 20)
		source := func() *Source {
			return open(t, db, with(mode), func(_ *Config, e *cdc.Env) { e.Share, e.Pipeline = share, "large" })
		}
		l := &largeReader{t: t, share: share}
		l.start = initial(t, source())
		before, began := rss(t), time.Now()
		l.read(source(), uint64(n)/2+1-uint64(n)/2%2, nil) // stopped inside
		if l.start.Tx == "" || l.next >= uint64(n) {
			t.Fatalf("not inside: %+v", l.start)
		}
		var cut atomic.Bool
		last := source()
		l.read(last, uint64(n), func() {
			if l.next > uint64(n)*3/4 && cut.CompareAndSwap(false, true) {
				cutDumps(t, db)
			}
		})
		if !cut.Load() || last.Status().Reconnects == 0 {
			t.Error("the connection was not cut")
		}
		more := max(l.peak, rss(t)) - before
		t.Logf("%d rows, %d MiB in %v; %d KiB of budget, %d MiB more of memory", l.next, n*width>>20, time.Since(began).Round(time.Millisecond),
			l.used>>10, more>>20)
		if l.next != uint64(n) || l.used > largeBudget || more > largeRSSMore || share.Used() != 0 {
			t.Errorf("%d of %d rows, %d bytes of budget, %d bytes more of memory, %d left", l.next, n, l.used, more, share.Used())
		}
		p, err := position.Decode(l.start.Base)
		if err != nil || uint64(n*width) > 1<<32 && p.GTIDs == nil && p.Pos < 1<<32 {
			t.Errorf("position %s, %v", l.start.Base, err)
		}
		// Behind it, also where a place has more than 32 bits.
		db.Exec(t, "INSERT INTO shop.orders VALUES (0, 'behind')")
		s := start(t, source(), l.start)
		if rows := s.awaitRows(t, 1); !strings.Contains(rows[0].Text, "id=0 ") {
			t.Errorf("%v", texts(rows))
		}
	}
	for _, setup := range setups() {
		if short := []string{"mysql/gtid", "mariadb/file"}; n < 1_000_000 && !slices.Contains(short, setup.name) {
			continue // one mode of each server is enough for the short form
		}
		t.Run(setup.name, func(t *testing.T) { test(t, setup.start(t), setup.mode) }) // alone: memory is measured
	}
}
