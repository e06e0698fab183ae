package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Replica is how the copies of the state stand.
type Replica struct {
	Where       string    `json:"where"`
	Checkpoint  string    `json:"checkpoint,omitempty"` // the newest that is complete: "epoch/seq"
	At          time.Time `json:"at,omitzero"`          // when that was made
	Bytes       int64     `json:"bytes"`                // size of that
	Checkpoints uint64    `json:"checkpoints"`          // made since the daemon started
	Uploaded    int64     `json:"uploaded_bytes"`       // since the daemon started
	Pending     int64     `json:"pending_bytes"`        // of the copy under way, not there yet
	Failures    uint64    `json:"failures"`             // since the daemon started
	// Lacks are pipelines whose connectors keep values, and that the newest copy is
	// without.
	Lacks []string `json:"lacks,omitempty"`
	// Code, Reason and Since say what is wrong now; empty when nothing is.
	Code   string    `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Hint   string    `json:"hint,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// NewReplica returns a collector of how the copies of the state stand, which is
// asked at each scrape; a nil answer gives no series.
func NewReplica(status func() *Replica, now func() time.Time) prometheus.Collector {
	c := &replica{status: status}
	add := func(kind prometheus.ValueType, name, help string, value func(*Replica) (float64, bool)) {
		c.series = append(c.series, series{prometheus.NewDesc("cdcd_state_replica_"+name, help, nil, nil), kind, value})
	}
	always := func(f func(*Replica) float64) func(*Replica) (float64, bool) {
		return func(r *Replica) (float64, bool) { return f(r), true }
	}
	add(prometheus.GaugeValue, "up", "1 while copies of the state are made as they should be, else 0.", always(func(r *Replica) float64 { return bit(r.Code == "") }))
	add(prometheus.GaugeValue, "age_seconds", "Age of the newest complete copy of this run of the daemon.",
		func(r *Replica) (float64, bool) { return now().Sub(r.At).Seconds(), !r.At.IsZero() })
	add(prometheus.GaugeValue, "bytes", "Size of the newest complete copy.", always(func(r *Replica) float64 { return float64(r.Bytes) }))
	add(prometheus.GaugeValue, "pending_bytes", "Bytes of the copy under way that are not uploaded yet.", always(func(r *Replica) float64 { return float64(r.Pending) }))
	add(prometheus.CounterValue, "checkpoints_total", "Copies made.", always(func(r *Replica) float64 { return float64(r.Checkpoints) }))
	add(prometheus.CounterValue, "uploaded_bytes_total", "Bytes uploaded.", always(func(r *Replica) float64 { return float64(r.Uploaded) }))
	add(prometheus.CounterValue, "failures_total", "Copies that failed.", always(func(r *Replica) float64 { return float64(r.Failures) }))
	return c
}

// series is one metric and how it is read.
type series struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*Replica) (v float64, ok bool)
}

type replica struct {
	status func() *Replica
	series []series
}

// Describe implements prometheus.Collector.
func (c *replica) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range c.series {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c *replica) Collect(ch chan<- prometheus.Metric) {
	r := c.status()
	if r == nil {
		return
	}
	for _, s := range c.series {
		if v, ok := s.value(r); ok {
			ch <- prometheus.MustNewConstMetric(s.desc, s.kind, v)
		}
	}
}
