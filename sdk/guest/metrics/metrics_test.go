//go:build !wasip1

package metrics_test

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk/guest/metrics"
)

func TestNative(t *testing.T) {
	metrics.Reset()
	c, err := metrics.NewCounter("rows_total")
	if err != nil {
		t.Fatal(err)
	}
	again, err := metrics.NewCounter("rows_total")
	if err != nil || again != c {
		t.Error("declared twice it is another:", err)
	}
	c.Add(2)
	again.Add(0.5)
	c.Add(-1)
	if v := metrics.Value("rows_total"); v != 2.5 {
		t.Errorf("%v", v)
	}
	if _, err := metrics.NewGauge("rows_total"); err != metrics.ErrDeclare {
		t.Error(err)
	}
	g, err := metrics.NewGauge("depth")
	if err != nil {
		t.Fatal(err)
	}
	g.Set(4)
	g.Add(-1)
	h, err := metrics.NewHistogram("sizes", 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	h.Observe(7)
	if metrics.Value("depth") != 3 || metrics.Value("sizes") != 7 || metrics.Value("none") != 0 {
		t.Errorf("%v %v", metrics.Value("depth"), metrics.Value("sizes"))
	}
}
