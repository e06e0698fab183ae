//go:build !wasip1

package metrics

import (
	"math"
	"slices"

	"github.com/cdcd-io/cdcd/sdk"
)

// metric is a metric of a test's connector.
type metric struct {
	kind  uint32
	name  string
	value float64
}

var all []metric

// Value returns what a counter or gauge stands at, and the sum of a histogram's
// values; 0 for one that is not declared. It exists outside WebAssembly only,
// for tests.
func Value(name string) float64 {
	i := slices.IndexFunc(all, func(m metric) bool { return m.name == name })
	if i < 0 {
		return 0
	}
	return all[i].value
}

// Reset forgets all metrics. It exists outside WebAssembly only, for tests.
func Reset() { all = nil }

func declare(kind uint32, name string, bounds []float64) int32 {
	i := slices.IndexFunc(all, func(m metric) bool { return m.name == name })
	switch {
	case i >= 0 && all[i].kind == kind:
		return int32(i)
	case i >= 0 || len(all) == sdk.MetricsMax || name == "" || !slices.IsSorted(bounds):
		return sdk.CapInvalid
	}
	all = append(all, metric{kind: kind, name: name})
	return int32(len(all) - 1)
}

func add(id int32, v float64) {
	if id >= 0 && int(id) < len(all) && !math.IsNaN(v) && !math.IsInf(v, 0) && (v >= 0 || all[id].kind != sdk.MetricCounter) {
		all[id].value += v
	}
}

func set(id int32, v float64) {
	if id >= 0 && int(id) < len(all) {
		all[id].value = v
	}
}

func observe(id int32, v float64) { add(id, v) }
