package pipeline

import (
	"slices"
	"time"
)

// deliveriesKept is how many batches the quantiles of Delivery are taken from.
const deliveriesKept = 128

// Delivery is how long batches with rows took from being read off the log to
// the sink's confirmation. Unlike Status.Lag it says nothing of how old the log
// is, so it means the same for a live server, a server that is caught up with,
// and files.
type Delivery struct {
	Batches        uint64        // delivered since the process started
	Sum            time.Duration // over all of them
	Last, P50, P99 time.Duration // of the last 128 batches; 0 without any
}

// deliveries keeps what Delivery is made of. It doesn't grow.
type deliveries struct {
	recent [deliveriesKept]time.Duration
	n      uint64
	sum    time.Duration
}

func (d *deliveries) note(took time.Duration) {
	took = max(took, 0) // the clock may be set back
	d.recent[d.n%deliveriesKept] = took
	d.n++
	d.sum += took
}

// delivery sorts recent, a copy, and makes a Delivery of it.
func (d deliveries) delivery() Delivery {
	v := Delivery{Batches: d.n, Sum: d.sum}
	if d.n == 0 {
		return v
	}
	v.Last = d.recent[(d.n-1)%deliveriesKept]
	have := d.recent[:min(d.n, deliveriesKept)]
	slices.Sort(have)
	v.P50, v.P99 = have[(len(have)-1)/2], have[(len(have)-1)*99/100]
	return v
}
