package main

import "time"

// rateSpan is the time over which rates are averaged, so that they can be read.
const rateSpan = 2 * time.Second

// rate is how fast a counter rises.
type rate struct{ marks []mark }

type mark struct {
	at time.Time
	n  uint64
}

// add takes note of the counter and returns its rise per second over the last
// rateSpan.
func (r *rate) add(at time.Time, n uint64) uint64 {
	if k := len(r.marks); k > 0 && n < r.marks[k-1].n { // counted anew
		r.marks = nil
	}
	r.marks = append(r.marks, mark{at, n})
	for len(r.marks) > 2 && at.Sub(r.marks[1].at) >= rateSpan {
		r.marks = r.marks[1:]
	}
	first := r.marks[0]
	seconds := at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return uint64(float64(n-first.n)/seconds + 0.5)
}
