package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
)

// contest is one decoder over the same bytes in memory.
type contest struct {
	name   string
	decode func(file []byte) (rows int, err error)
	rates  []float64
	allocs float64 // per row, of the last run
	bytes  float64
}

// decode reads the same files with both decoders in turns, on one core.
func (f *figures) decode(h *host.Host, s *jobs.Source, runs int) {
	s.Fill(h)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	f.DecodeVsGoMySQL, f.DecodeAllocsPerRow = race(h, s.Logs(h), s.Rows, runs)
	fmt.Printf("decoder / go-mysql: %.2fx rows/s on one core\n", f.DecodeVsGoMySQL)
	files, rows := s.Mixed(h, s.Rows/4)
	f.DecodeMixedVsGoMySQL, _ = race(h, files, rows, runs)
	fmt.Printf("decoder / go-mysql, many types: %.2fx rows/s on one core\n", f.DecodeMixedVsGoMySQL)
}

func race(h *host.Host, files [][]byte, rows, runs int) (ratio, allocs float64) {
	ours, theirs := &contest{name: "cdcd decoder", decode: decodeOurs}, &contest{name: "go-mysql", decode: decodeGoMySQL}
	for range 2*runs + 1 { // they are short
		ours.once(h, files, rows)
		theirs.once(h, files, rows)
	}
	return jobs.Median(ours.rates) / jobs.Median(theirs.rates), ours.allocs
}

func (c *contest) once(h *host.Host, files [][]byte, want int) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, rows := cpu(h), 0
	for _, file := range files {
		n, err := c.decode(file)
		if err != nil {
			h.Fatalf("%s: %v", c.name, err)
		}
		rows += n
	}
	seconds := cpu(h) - begin
	runtime.ReadMemStats(&after)
	if rows != want {
		h.Fatalf("%s: %d rows, not %d", c.name, rows, want)
	}
	c.rates = append(c.rates, float64(rows)/seconds)
	c.allocs = float64(after.Mallocs-before.Mallocs) / float64(rows)
	c.bytes = float64(after.TotalAlloc-before.TotalAlloc) / float64(rows)
	fmt.Printf("%-15s %8.0f rows/s of CPU  %6.2f allocations/row  %6.0f B/row\n", c.name, float64(rows)/seconds, c.allocs, c.bytes)
}

// cpu is the seconds that this process has used: unlike the clock, it does not
// run while a neighbour has the core.
func cpu(h *host.Host) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		h.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// decodeGoMySQL is go-mysql as it comes, but for UTC.
func decodeGoMySQL(file []byte) (rows int, err error) {
	p := replication.NewBinlogParser()
	p.SetTimestampStringLocation(time.UTC)
	err = p.ParseReader(bytes.NewReader(file[4:]), func(e *replication.BinlogEvent) error {
		if event, ok := e.Event.(*replication.RowsEvent); ok {
			n := len(event.Rows)
			if e.Header.EventType == replication.UPDATE_ROWS_EVENTv2 {
				n /= 2
			}
			rows += n
		}
		return nil
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return rows, err
}
