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
				if _, _, err := p.RowsHeader(ev); err != nil {
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
