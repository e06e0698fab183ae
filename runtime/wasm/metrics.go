package wasm

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/cdcd-io/cdcd/sdk"
)

// Metrics are what the connector of a step counts, over all its instances. It
// is safe for concurrent use, and lasts as long as the pipeline does.
type Metrics struct {
	mu   sync.Mutex
	list []Metric
}

// Metric is one metric as it stands.
type Metric struct {
	Name string
	Kind uint32 // sdk.MetricCounter...
	// Value is a counter's or a gauge's; of a histogram, the sum of all values.
	Value float64
	// Bounds are a histogram's upper bounds, ascending; Counts how many values lie
	// in each bucket, those above the last bound at the end.
	Bounds []float64
	Counts []uint64
}

// NewMetrics returns Metrics that nothing has been declared in.
func NewMetrics() *Metrics { return &Metrics{} }

// Snapshot returns the metrics in the order in which they were declared.
func (m *Metrics) Snapshot() []Metric {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.Clone(m.list)
	for k := range list {
		list[k].Counts = slices.Clone(list[k].Counts)
	}
	return list
}

// declare files a metric, or finds the one that is declared already. It returns
// its number or a code.
func (m *Metrics) declare(kind uint32, name string, bounds []float64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.list {
		if m.list[k].Name == name {
			if m.list[k].Kind != kind || !slices.Equal(m.list[k].Bounds, bounds) {
				return sdk.CapInvalid
			}
			return k
		}
	}
	if len(m.list) == sdk.MetricsMax {
		return sdk.CapTooLarge
	}
	metric := Metric{Name: name, Kind: kind, Bounds: bounds}
	if kind == sdk.MetricHistogram {
		metric.Counts = make([]uint64, len(bounds)+1)
	}
	m.list = append(m.list, metric)
	return len(m.list) - 1
}

// changes are what an instance changed since they last counted.
type changes struct {
	list []change
	any  bool
}

type change struct {
	set    bool    // value is the gauge's, otherwise what was added
	value  float64 // of a histogram, the sum
	counts [sdk.MetricBucketsMax + 1]uint64
}

// drop forgets the changes of a call that came to nothing: its rows are run again.
func (c *changes) drop() {
	if c.any {
		clear(c.list)
		c.any = false
	}
}

// count makes the changes those of the step.
func (c *changes) count(m *Metrics) {
	if !c.any {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range c.list {
		from, to := &c.list[k], &m.list[k]
		if from.set {
			to.Value = 0
		}
		to.Value = plus(to.Value, from.value)
		for b := range to.Counts {
			to.Counts[b] += from.counts[b]
		}
	}
	clear(c.list)
	c.any = false
}

// plus adds finite numbers and stays finite: infinity has no form in JSON, and a
// connector must not spoil the account of all pipelines.
func plus(a, b float64) float64 { return max(-math.MaxFloat64, min(a+b, math.MaxFloat64)) }

// metricName reports whether a name is one: lower-case letters, digits and
// underscores, and none of the endings that Prometheus gives a meaning to.
func metricName(kind uint32, s string) bool {
	if len(s) == 0 || len(s) > sdk.MetricNameMax || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || s[0] == '_' {
		return false
	}
	for _, ending := range []string{"_bucket", "_count", "_sum", "_total"} {
		if strings.HasSuffix(s, ending) && !(kind == sdk.MetricCounter && ending == "_total") {
			return false
		}
	}
	return true
}

// metricsDeclare answers (kind, name, name length, bounds, number of bounds)
// with the metric's number. Bounds are f64, ascending, of histograms only.
func metricsDeclare(i *Instance, mem []byte, stack []uint64) {
	kind, count := uint32(stack[0]), uint32(stack[4])
	name := at(mem, stack[1], stack[2])
	if name == nil || count > sdk.MetricBucketsMax || kind > sdk.MetricHistogram || (kind == sdk.MetricHistogram) != (count > 0) {
		reply(stack, sdk.CapInvalid)
		return
	}
	raw := at(mem, stack[3], 8*uint64(count))
	if raw == nil || !metricName(kind, unsafeText(name)) {
		reply(stack, sdk.CapInvalid)
		return
	}
	var bounds []float64
	for ; len(raw) > 0; raw = raw[8:] {
		v := math.Float64frombits(binary.LittleEndian.Uint64(raw))
		if math.IsNaN(v) || math.IsInf(v, 0) || len(bounds) > 0 && v <= bounds[len(bounds)-1] {
			reply(stack, sdk.CapInvalid)
			return
		}
		bounds = append(bounds, v)
	}
	n := i.config.Metrics.declare(kind, string(name), bounds)
	for n >= len(i.changes.list) {
		i.changes.list = append(i.changes.list, change{})
	}
	reply(stack, n)
}

// metric returns the metric that (number, value) names, for a change of one of
// the kinds; nil after it has answered why not.
func (i *Instance) metric(stack []uint64, kinds ...uint32) (*change, *Metric, float64) {
	n, v := int(int32(uint32(stack[0]))), math.Float64frombits(stack[1])
	if n < 0 || n >= len(i.changes.list) {
		reply(stack, sdk.CapNotFound)
		return nil, nil, 0
	}
	m := i.config.Metrics
	m.mu.Lock()
	metric := &m.list[n]
	m.mu.Unlock()
	if !slices.Contains(kinds, metric.Kind) || math.IsNaN(v) || math.IsInf(v, 0) ||
		metric.Kind == sdk.MetricCounter && v < 0 {
		reply(stack, sdk.CapInvalid)
		return nil, nil, 0
	}
	reply(stack, 0)
	i.changes.any = true
	return &i.changes.list[n], metric, v
}

// metricsAdd answers (number, value f64): a counter or a gauge grows.
func metricsAdd(i *Instance, _ []byte, stack []uint64) {
	if c, _, v := i.metric(stack, sdk.MetricCounter, sdk.MetricGauge); c != nil {
		c.value = plus(c.value, v)
	}
}

// metricsSet answers (number, value f64): a gauge has the value.
func metricsSet(i *Instance, _ []byte, stack []uint64) {
	if c, _, v := i.metric(stack, sdk.MetricGauge); c != nil {
		c.set, c.value = true, v
	}
}

// metricsObserve answers (number, value f64): a histogram has one value more.
func metricsObserve(i *Instance, _ []byte, stack []uint64) {
	if c, m, v := i.metric(stack, sdk.MetricHistogram); c != nil {
		bucket, _ := slices.BinarySearch(m.Bounds, v)
		c.counts[bucket]++
		c.value = plus(c.value, v)
	}
}
