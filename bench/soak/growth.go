package main

import (
	"errors"
	"fmt"
	"time"
)

// growth is the last line of output: what there is more at the end than at the
// start.
type growth struct {
	Cycles     int     `json:"cycles"`
	RSS        int64   `json:"rss_growth_bytes"`
	Heap       int64   `json:"heap_growth_bytes"`
	JIT        int64   `json:"jit_growth_bytes"`
	Goroutines int     `json:"goroutines_growth"`
	FDs        int     `json:"fds_growth"`
	Micros     float64 `json:"us_per_cycle"`
	few        bool    // looks: too few to tell growth of RSS from its ups and downs
}

// jobGrowth is that of whole pipelines.
type jobGrowth struct {
	Jobs int `json:"jobs"`
	growth
	Connections int     `json:"connections_growth"` // at the MySQL server
	Millis      float64 `json:"ms_per_job"`
}

// rssGrowthMax is what resident memory may differ by: where the Go heap has its
// free places is never the same twice. Of a run of a few looks only the last one
// counts, which may be a high one. heapGrowthMax is for what is in use of the heap,
// which is nearly the same each time.
const (
	rssGrowthMax    = 4 << 20
	rssGrowthFewMax = 16 << 20
	heapGrowthMax   = 1 << 20
)

// looksMax is how many of the last looks count for resident memory, and no more
// than a fifth of all: what leaks is in each of them, and the heap's ups and
// downs are not.
const looksMax = 5

// patience is how long what ends by itself may take to be gone: a goroutine of a
// connection that was closed a moment ago, or what the MySQL server holds for it.
const patience = 30 * time.Second

// lookBack is the last look: again and again, until nothing has grown since the
// first or patience is at its end. What is held is there in each of them.
func lookBack(cycle int, first probe, check func(growth) error) (p probe, err error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if p, err = look(cycle); err != nil || check(grown([]probe{first, p}, 0)) == nil || time.Now().After(end) {
			return p, err
		}
	}
}

// grown compares the first look with the last ones.
func grown(looks []probe, spent time.Duration) growth {
	first, last := looks[0], looks[len(looks)-1]
	least := last.RSS
	count := min(looksMax, len(looks)/5)
	for _, p := range looks[len(looks)-count:] {
		least = min(least, p.RSS)
	}
	return growth{
		Cycles: last.Cycle, RSS: least - first.RSS, Heap: last.Heap - first.Heap, few: count == 0, JIT: last.JIT - first.JIT,
		Goroutines: last.Goroutines - first.Goroutines, FDs: last.FDs - first.FDs,
		Micros: float64(spent.Microseconds()) / float64(last.Cycle),
	}
}

func (g jobGrowth) check() error {
	err := g.growth.check()
	if g.Connections > 0 {
		err = errors.Join(err, fmt.Errorf("%d connections more at the server than at the start", g.Connections))
	}
	return err
}

// check is an error that names everything that grew.
func (g growth) check() error {
	var errs []error
	rss := int64(rssGrowthMax)
	if g.few {
		rss = rssGrowthFewMax
	}
	for _, c := range []struct {
		what      string
		grew, may int64
	}{
		{"bytes of resident memory", g.RSS, rss}, {"bytes of the Go heap in use", g.Heap, heapGrowthMax}, {"bytes of machine code", g.JIT, 0},
		{"goroutines", int64(g.Goroutines), 0}, {"descriptors", int64(g.FDs), 0},
	} {
		if c.grew > c.may {
			errs = append(errs, fmt.Errorf("%d %s more than at the start, after %d cycles; at most %d may be", c.grew, c.what, g.Cycles, c.may))
		}
	}
	return errors.Join(errs...)
}
