package wasm

import (
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is taken and given, no ledger passes its limit, each is the sum of those in
// it, and a refusal takes nothing from anybody.
func TestLedgers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		host := &ledger{whose: "host", bytesMax: 100, mapsMax: 12}
		var pipelines [2]*ledger
		var steps [4]*ledger
		for k := range pipelines {
			pipelines[k] = &ledger{within: host, whose: "pipeline", bytesMax: 60}
		}
		for k := range steps {
			steps[k] = &ledger{within: pipelines[k/2]}
		}
		var bytes, maps [4]int64
		sum := func(list []int64) (n int64) {
			for _, v := range list {
				n += v
			}
			return n
		}
		peak := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := rapid.IntRange(0, 3).Draw(t, "step")
			if rapid.Bool().Draw(t, "give") {
				steps[k].give(bytes[k], maps[k])
				bytes[k], maps[k] = 0, 0
			} else {
				n, m := int64(rapid.IntRange(0, 50).Draw(t, "bytes")), int64(rapid.IntRange(0, 3).Draw(t, "maps"))
				group := sum(bytes[k/2*2 : k/2*2+2])
				want := ""
				switch {
				case n > 0 && group+n > 60:
					want = "pipeline"
				case n > 0 && sum(bytes[:])+n > 100, m > 0 && sum(maps[:])+m > 12:
					want = "host"
				}
				r := steps[k].take(n, m)
				if (r == nil) != (want == "") || r != nil && r.whose != want {
					t.Fatalf("%+v, want %q", r, want)
				}
				if r == nil {
					bytes[k] += n
					maps[k] += m
				}
			}
			peak = max(peak, sum(bytes[:]))
			for k, s := range steps {
				if s.bytes.now.Load() != bytes[k] || s.maps.now.Load() != maps[k] {
					t.Fatalf("step %d has %d and %d, want %d and %d", k, s.bytes.now.Load(), s.maps.now.Load(), bytes[k], maps[k])
				}
			}
			for k, p := range pipelines {
				if got, want := p.bytes.now.Load(), sum(bytes[2*k:2*k+2]); got != want {
					t.Fatalf("pipeline %d has %d, want %d", k, got, want)
				}
			}
			if host.bytes.now.Load() != sum(bytes[:]) || host.maps.now.Load() != sum(maps[:]) || host.bytes.peak.Load() < peak {
				t.Fatalf("the host has %d and %d, at most %d", host.bytes.now.Load(), host.maps.now.Load(), host.bytes.peak.Load())
			}
		}
	})
}

// The limit holds when many take at once.
func TestLedgerAtOnce(t *testing.T) {
	host := &ledger{whose: "host", bytesMax: 100}
	var wg sync.WaitGroup
	for range 8 {
		l := &ledger{within: host}
		wg.Go(func() {
			for range 2000 {
				if l.take(30, 1) == nil {
					if now := host.bytes.now.Load(); now > 100 {
						t.Errorf("%d bytes of 100", now)
					}
					l.give(30, 1)
				}
			}
		})
	}
	wg.Wait()
	if host.bytes.now.Load() != 0 || host.maps.now.Load() != 0 || host.bytes.peak.Load() > 100 {
		t.Error(host.bytes.now.Load(), host.maps.now.Load(), host.bytes.peak.Load())
	}
}
