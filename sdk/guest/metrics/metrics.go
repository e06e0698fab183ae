package metrics

import (
	"errors"

	"github.com/cdcd-io/cdcd/sdk"
)

// ErrDeclare is returned for a metric that can't be: a name that is not made of
// a-z, 0-9 and _ (64 at most, none of the endings _total, _sum, _count and
// _bucket, but for a counter's _total), one that is declared as another kind, more
// than 32 metrics, or bounds that do not rise.
var ErrDeclare = errors.New("the metric can't be declared: see ErrDeclare of package metrics")

// Counter only rises.
type Counter struct{ id int32 }

// Gauge goes up and down.
type Gauge struct{ id int32 }

// Histogram counts values by size.
type Histogram struct{ id int32 }

// NewCounter declares a counter, or finds the one of that name. It is shown with
// the ending _total.
func NewCounter(name string) (Counter, error) {
	id, err := declared(sdk.MetricCounter, name, nil)
	return Counter{id}, err
}

// NewGauge declares a gauge, or finds the one of that name.
func NewGauge(name string) (Gauge, error) {
	id, err := declared(sdk.MetricGauge, name, nil)
	return Gauge{id}, err
}

// NewHistogram declares a histogram with 1 to 16 upper bounds, ascending, or
// finds the one of that name.
func NewHistogram(name string, bounds ...float64) (Histogram, error) {
	id, err := declared(sdk.MetricHistogram, name, bounds)
	return Histogram{id}, err
}

func declared(kind uint32, name string, bounds []float64) (int32, error) {
	id := declare(kind, name, bounds)
	if id < 0 {
		return id, ErrDeclare
	}
	return id, nil
}

// Add makes the counter rise. A negative or infinite v does nothing.
func (c Counter) Add(v float64) { add(c.id, v) }

// Add changes the gauge by v.
func (g Gauge) Add(v float64) { add(g.id, v) }

// Set gives the gauge a value.
func (g Gauge) Set(v float64) { set(g.id, v) }

// Observe counts a value.
func (h Histogram) Observe(v float64) { observe(h.id, v) }
