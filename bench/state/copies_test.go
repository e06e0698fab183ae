package main

import "testing"

func TestSpread(t *testing.T) {
	var v []float64
	for n := range 25 {
		v = append(v, float64(24-n))
	}
	if got, want := spreadOf(v), (spread{12, 7, 17}); got != want { // the 8th from either end
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := spreadOf([]float64{3, 1}), (spread{2, 1, 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
