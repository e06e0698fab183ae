package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Stream is how a pipeline's stream was when it was last looked over.
type Stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// BytesMax is what it may have as things are; 0 for no limit that is known.
	BytesMax uint64 `json:"bytes_max,omitempty"`
	// UntilFullSeconds is when it is full at the rate of the last while, an hour at
	// most; nil when it doesn't grow or has no limit.
	UntilFullSeconds *float64 `json:"until_full_seconds,omitempty"`
	Deleted          uint64   `json:"deleted_messages"` // missing from the middle
	Replicas         int      `json:"replicas"`
	ReplicasCurrent  int      `json:"replicas_current"`
	ReplicaLag       uint64   `json:"replica_lag_messages"` // of the worst
	Alarms           []Alarm  `json:"alarms,omitempty"`
}

// Alarm is something that is wrong with a stream.
type Alarm struct {
	Code   string    `json:"code"` // for cdcd explain
	Reason string    `json:"reason"`
	Hint   string    `json:"hint"`
	Since  time.Time `json:"since"`
}

// NATS is how the embedded NATS server is.
type NATS struct {
	Reason        string    `json:"reason,omitempty"` // what is wrong; empty while all is well
	Since         time.Time `json:"since,omitzero"`   // of Reason
	Restarts      uint64    `json:"restarts"`
	DiskFreeBytes int64     `json:"disk_free_bytes"`
	StoreBytes    int64     `json:"store_bytes"`
	StoreBytesMax int64     `json:"store_bytes_max"`
}

// streams is the collector of NewStreams.
type streams struct {
	codes  []string
	status func() []Status

	messages, bytes, bytesMax, untilFull, deleted, replicas, current, lag, alarm *prometheus.Desc
}

// NewStreams returns the metrics of pipelines' streams. codes are all that an
// alarm may have, so that the set of labels is closed.
func NewStreams(codes []string, status func() []Status) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("cdcd_stream_"+name, help, append([]string{"pipeline"}, labels...), nil)
	}
	return &streams{codes: codes, status: status,
		messages:  desc("messages", "Messages that the stream has."),
		bytes:     desc("bytes", "Bytes that the stream has."),
		bytesMax:  desc("max_bytes", "Bytes that the stream may have as things are: by its own limit, its account's, or the embedded server's disk."),
		untilFull: desc("until_full_seconds", "When the stream is full at the rate of the last while, an hour at most; absent while it does not grow."),
		deleted:   desc("deleted_messages", "Messages that are missing from the middle of the stream: 0."),
		replicas:  desc("replicas", "Copies that the stream should have."),
		current:   desc("replicas_current", "Copies of the stream that have everything."),
		lag:       desc("replica_lag_messages", "Messages that the worst copy of the stream lacks."),
		alarm:     desc("alarm", "1 for each thing that is wrong with the stream, by its code, else 0.", "code"),
	}
}

// Describe implements prometheus.Collector.
func (c *streams) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.bytes, c.bytesMax, c.untilFull, c.deleted, c.replicas, c.current, c.lag, c.alarm} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *streams) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.status() {
		s := p.Stream
		if s == nil {
			continue
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.Pipeline}, labels...)...)
		}
		gauge(c.messages, float64(s.Messages))
		gauge(c.bytes, float64(s.Bytes))
		if s.BytesMax > 0 {
			gauge(c.bytesMax, float64(s.BytesMax))
		}
		if s.UntilFullSeconds != nil {
			gauge(c.untilFull, *s.UntilFullSeconds)
		}
		gauge(c.deleted, float64(s.Deleted))
		gauge(c.replicas, float64(s.Replicas))
		gauge(c.current, float64(s.ReplicasCurrent))
		gauge(c.lag, float64(s.ReplicaLag))
		for _, code := range c.codes {
			gauge(c.alarm, bit(has(s.Alarms, code)), code)
		}
	}
}

func has(alarms []Alarm, code string) bool {
	for _, a := range alarms {
		if a.Code == code {
			return true
		}
	}
	return false
}

// broker is the collector of NewNATS.
type broker struct {
	health func() *NATS

	healthy, restarts, free, store, storeMax *prometheus.Desc
}

// NewNATS returns the metrics of the embedded NATS server; none while health
// returns nil.
func NewNATS(health func() *NATS) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("cdcd_nats_"+name, help, nil, nil) }
	return &broker{health,
		desc("healthy", "1 while the embedded NATS server runs and its disk has room, else 0."),
		desc("restarts_total", "Times that the embedded NATS server was started again because it could not write, had ended or gave no answer."),
		desc("disk_free_bytes", "What the disk of the embedded server's streams has free."),
		desc("store_bytes", "What the embedded server's streams have together."),
		desc("store_max_bytes", "What they may have as things are: the disk's free space less a reserve, or nats.embedded.max_store."),
	}
}

// Describe implements prometheus.Collector.
func (b *broker) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.healthy, b.restarts, b.free, b.store, b.storeMax} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *broker) Collect(ch chan<- prometheus.Metric) {
	h := b.health()
	if h == nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(b.healthy, prometheus.GaugeValue, bit(h.Reason == ""))
	ch <- prometheus.MustNewConstMetric(b.restarts, prometheus.CounterValue, float64(h.Restarts))
	ch <- prometheus.MustNewConstMetric(b.free, prometheus.GaugeValue, float64(h.DiskFreeBytes))
	ch <- prometheus.MustNewConstMetric(b.store, prometheus.GaugeValue, float64(h.StoreBytes))
	ch <- prometheus.MustNewConstMetric(b.storeMax, prometheus.GaugeValue, float64(h.StoreBytesMax))
}
