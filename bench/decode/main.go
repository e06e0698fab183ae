package main

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// figures is the last line of output.
type figures struct {
	Sakila float64 `json:"sakila_vs_gomysql"` // row images/s, as a ratio
	OLTP   float64 `json:"oltp_vs_gomysql"`   // the same
	Allocs float64 `json:"allocs_per_row"`    // the most of any log
	Skip   float64 `json:"skip_vs_decode"`    // the least of any log: images/s passed over against decoded
}

// recorded is the sakila load, beside the repository.
const recorded = "../shared/corpus/binlogs/mysql-bin.sakila.gz"

func main() {
	// Few enough for the processor's cache: a source reads what has just come
	// from a socket, and main memory is not what is to be weighed.
	rows := flag.Int("rows", 8_000, "row changes of the OLTP load")
	runs := flag.Int("runs", 5, "runs of each decoder; the median counts")
	h := host.New()
	defer h.Close()
	flag.Parse()
	runtime.GOMAXPROCS(1)
	var f figures
	if events, err := sakila(); errors.Is(err, os.ErrNotExist) {
		fmt.Printf("SKIPPED: %s is not there\n", recorded)
	} else if err != nil {
		h.Fatal(err)
	} else {
		f.Sakila = f.race(h, "sakila", events, *runs)
	}
	f.OLTP = f.race(h, "OLTP", oltp(h, *rows), *runs)
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		h.Fatal(err)
	}
}

func sakila() ([][]byte, error) {
	f, err := os.Open(recorded)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	log, err := io.ReadAll(z)
	return split(log), err
}

// oltp writes the load and reads its binlog files.
func oltp(h *host.Host, rows int) (events [][]byte) {
	db := testserver.MySQL(h, testserver.Args("--innodb-buffer-pool-size=512M", "--innodb-redo-log-capacity=512M"))
	err := load.Create(db)
	if err == nil {
		_, err = load.Fill(db, rows*3/4)
	}
	if err == nil {
		_, err = load.FillMixed(db, rows/4)
	}
	if err != nil {
		h.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.[0-9]*"))
	if err != nil {
		h.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		log, err := os.ReadFile(name)
		if err != nil {
			h.Fatal(err)
		}
		events = append(events, split(log)...)
	}
	return events
}

// contest is one way to go through a log.
type contest struct {
	name  string
	run   func() (images int, err error)
	rates []float64
	alloc float64 // per image, of the last run
}

// race runs cdcd's decoder, its skipping and go-mysql's decoder in turns, and
// returns the first against the last.
func (f *figures) race(h *host.Host, log string, events [][]byte, runs int) float64 {
	ours, skip := newDecoder(), newDecoder()
	skip.follow = false
	contests := []*contest{{name: "cdcd", run: func() (int, error) { return ours.decode(events) }},
		{name: "cdcd, not followed", run: func() (int, error) { return skip.decode(events) }},
		{name: "go-mysql", run: func() (int, error) { return theirs(events) }}}
	images := 0
	for n := range 2*runs + 1 { // an odd number, so that the median was measured
		for _, c := range contests {
			got, err := c.once(h, images)
			if err != nil {
				h.Fatalf("%s: %s: %v", log, c.name, err)
			}
			if c != contests[1] && images != 0 && got != images {
				h.Fatalf("%s: %s has %d row images, not %d", log, c.name, got, images)
			}
			images = max(images, got)
		}
		if n == 0 { // the first run warms up: definitions, buffers
			for _, c := range contests {
				c.rates = nil
			}
		}
	}
	for _, c := range contests {
		fmt.Printf("%-7s %-19s %11.0f row images/s of CPU  %6.3f allocations/image\n", log, c.name, median(c.rates), c.alloc)
	}
	f.Allocs = max(f.Allocs, contests[0].alloc)
	if s := median(contests[1].rates) / median(contests[0].rates); f.Skip == 0 || s < f.Skip {
		f.Skip = s
	}
	return median(contests[0].rates) / median(contests[2].rates)
}

// once runs long enough for the kernel's clock of used CPU, which unlike the
// wall's does not run while a neighbour has the core. A contest that does not
// count images is told how many there are.
func (c *contest) once(h *host.Host, images int) (got int, err error) {
	const enough = 200 * time.Millisecond
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin, used, rounds := cpu(h), time.Duration(0), 0
	for used < enough {
		if got, err = c.run(); err != nil {
			return 0, err
		}
		rounds++
		used = cpu(h) - begin
	}
	runtime.ReadMemStats(&after)
	total := float64(rounds * max(got, images))
	c.rates = append(c.rates, total/used.Seconds())
	c.alloc = float64(after.Mallocs-before.Mallocs) / total
	return got, nil
}

func cpu(h *host.Host) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		h.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
