package telemetry

import (
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestGuestMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewGuests(func() Guests {
		return Guests{Modules: 2, ModulesIdle: 1, Instances: 2, Mappings: 6, MemoryBytes: 131072, MemoryBytesPeak: 300000, MemoryBytesMax: 1 << 32,
			SnapshotBytes: 65536, CodeBytes: 4096, CodePending: 2048, CodeUnmapped: 8192, CodeNotUnmapped: 1,
			Compile: GuestCompile{Hits: 10, Misses: 11, Damaged: 12, Evictions: 13, Unwritten: 14, CacheBytes: 15, Compiled: 16, Failed: 17, Seconds: 1.5, LoadSeconds: 2.5},
			Steps: []GuestStep{
				{Pipeline: "shop", Step: "mask", Instances: 1, InstancesPeak: 3, MemoryBytes: 131072, MemoryBytesPeak: 262144, Calls: 5, Fuel: 1000, BusySeconds: 0.25},
				{Pipeline: "shop", Step: "filter", Instances: 1},
			}}
	}))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	const golden = "testdata/guests.golden"
	if *update {
		if err := os.WriteFile(golden, w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
