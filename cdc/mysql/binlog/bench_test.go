package binlog_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/sdk"
)

// sakila returns the raw events of the recorded sakila load: 47,273 row images.
func sakila(t testing.TB) [][]byte {
	f := corpusFile(t, "mysql-bin.sakila.gz")
	var events [][]byte
	for {
		raw, _, err := f.Next()
		if err == io.EOF {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, bytes.Clone(raw))
	}
}

// decoder decodes whole logs into a builder that it uses again for every 512
// rows, as a source does.
type decoder struct {
	p     *binlog.Parser
	b     sdk.Builder
	plans map[*binlog.TableMap]*binlog.RowPlan
}

func newDecoder() *decoder {
	return &decoder{p: binlog.NewParser(binlog.Options{}), plans: map[*binlog.TableMap]*binlog.RowPlan{}}
}

func (d *decoder) reset() {
	d.b.Reset()
	d.b.BeginTx(sdk.TxInfo{})
}

// run decodes events and returns the number of row images.
func (d *decoder) run(t testing.TB, events [][]byte) (images int) {
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	d.reset()
	for _, raw := range events {
		ev, err := d.p.Parse(raw)
		check(err)
		switch {
		case ev.Type == binlog.TableMapEvent:
			m, err := d.p.TableMap(ev)
			check(err)
			if d.plans[m] == nil {
				s, pl, err := binlog.BuildSchema(m, guess(m))
				check(err)
				s.ID, d.plans[m] = 1, pl
			}
		case ev.Type.IsRows():
			h, data, err := d.p.RowsHeader(ev)
			check(err)
			rows, err := d.plans[d.p.Table(h.TableID)].Rows(h, data)
			check(err)
			for rows.More() {
				if d.b.Rows() >= 512 {
					d.reset()
				}
				_, err := rows.Next(&d.b, 0)
				check(err)
				images++
				if h.Op == sdk.OpUpdate {
					images++
				}
			}
		}
	}
	return images
}

// BenchmarkDecode decodes the sakila log with this package and with go-mysql's
// own decoder (its defaults, with UTC strings), side by side.
func BenchmarkDecode(b *testing.B) {
	events := sakila(b)
	b.Run("cdcd", func(b *testing.B) {
		d, images := newDecoder(), 0
		d.run(b, events)
		b.ReportAllocs()
		for b.Loop() {
			images += d.run(b, events[1:])
		}
		b.ReportMetric(float64(images)/b.Elapsed().Seconds(), "images/s")
	})
	b.Run("go-mysql", func(b *testing.B) {
		p, images := replication.NewBinlogParser(), 0
		p.SetTimestampStringLocation(time.UTC)
		b.ReportAllocs()
		for b.Loop() {
			for _, raw := range events {
				ev, err := p.Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				if rows, ok := ev.Event.(*replication.RowsEvent); ok {
					images += len(rows.Rows)
				}
			}
		}
		b.ReportMetric(float64(images)/b.Elapsed().Seconds(), "images/s")
	})
}

// BenchmarkSkip reads the same log as if no table was followed.
func BenchmarkSkip(b *testing.B) {
	events := sakila(b)
	p := binlog.NewParser(binlog.Options{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, raw := range events {
			ev, err := p.Parse(raw)
			if err != nil {
				b.Fatal(err)
			}
			n += len(raw)
			if ev.Type.IsRows() {
				if _, err := p.RowsTable(ev); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.SetBytes(int64(n / b.N))
}

// TestDecodeAllocations holds the decoder to no allocation for any row, table map
// or event of a log whose tables it has met.
func TestDecodeAllocations(t *testing.T) {
	events := sakila(t)
	d := newDecoder()
	d.run(t, events)
	if n := testing.AllocsPerRun(3, func() { d.run(t, events[1:]) }); n > 0 {
		t.Errorf("%v allocations to decode 47,273 row images", n)
	}
}

// TestSkip holds tables that are not followed to the cost of their events'
// headers: no allocation, and a small part of what decoding costs. The bound is
// half of what `make bench-decode` reaches, since a test has neighbours.
func TestSkip(t *testing.T) {
	const timesMin = 25
	events := sakila(t)
	d := newDecoder()
	d.run(t, events)
	skip := func() {
		for _, raw := range events[1:] {
			ev, err := d.p.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if ev.Type.IsRows() {
				id, err := d.p.RowsTable(ev)
				if err != nil || d.p.Table(id) == nil {
					t.Fatalf("table %d: %v", id, err)
				}
			}
		}
	}
	if n := testing.AllocsPerRun(3, skip); n > 0 {
		t.Errorf("%v allocations to pass over the log", n)
	}
	fastest := func(f func()) time.Duration {
		best := time.Hour
		for range 30 {
			begin := time.Now()
			f()
			best = min(best, time.Since(begin))
		}
		return best
	}
	decode, pass := fastest(func() { d.run(t, events[1:]) }), fastest(skip)
	if pass*timesMin > decode {
		t.Errorf("passing over the log takes %v, decoding it %v: want %d times less", pass, decode, timesMin)
	}
	t.Logf("%.0f times", float64(decode)/float64(pass))
}
