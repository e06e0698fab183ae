package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Guests is what the WebAssembly host holds and has used at one moment.
type Guests struct {
	Steps []GuestStep `json:"steps,omitempty"`

	Modules         int   `json:"modules"`          // loaded, idle ones included
	Instances       int   `json:"instances"`        // of all steps
	Mappings        int   `json:"mappings"`         // of the system's, for guest memories, at most
	MemoryBytesMax  int64 `json:"memory_bytes_max"` // for guests and snapshots together
	SnapshotBytes   int64 `json:"snapshot_bytes"`   // that instances begin with and share
	CodeBytes       int64 `json:"code_bytes"`       // machine code of loaded modules
	CodeUnmapped    int64 `json:"code_bytes_unmapped"`
	CodeNotUnmapped int64 `json:"code_bytes_not_unmapped"` // unloaded, and still there after several collections: 0
}

// GuestStep is what the instances of a step hold and have used.
type GuestStep struct {
	Pipeline        string  `json:"pipeline"`
	Step            string  `json:"step"`
	Instances       int64   `json:"instances"`
	MemoryBytes     int64   `json:"memory_bytes"`
	MemoryBytesPeak int64   `json:"memory_bytes_peak"`
	Calls           int64   `json:"calls"`
	Fuel            int64   `json:"fuel"`
	BusySeconds     float64 `json:"busy_seconds"`
}

// guests makes metrics of Guests at each scrape.
type guests struct {
	ask   func() Guests
	steps []guestFamily[GuestStep]
	host  []guestFamily[Guests]
}

type guestFamily[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*T) float64
}

// NewGuests returns a collector of the metrics cdcd_wasm_..., which asks at each scrape.
func NewGuests(ask func() Guests) prometheus.Collector {
	g := &guests{ask: ask}
	step := func(kind prometheus.ValueType, name, help string, value func(*GuestStep) float64) {
		g.steps = append(g.steps, guestFamily[GuestStep]{prometheus.NewDesc("cdcd_wasm_"+name, help, []string{"pipeline", "step"}, nil), kind, value})
	}
	host := func(kind prometheus.ValueType, name, help string, value func(*Guests) float64) {
		g.host = append(g.host, guestFamily[Guests]{prometheus.NewDesc("cdcd_wasm_"+name, help, nil, nil), kind, value})
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	step(gauge, "instances", "Instances of the step.", func(s *GuestStep) float64 { return float64(s.Instances) })
	step(gauge, "memory_bytes", "Memory that is open to the step's instances.", func(s *GuestStep) float64 { return float64(s.MemoryBytes) })
	step(gauge, "memory_peak_bytes", "The most memory that was open to them.", func(s *GuestStep) float64 { return float64(s.MemoryBytesPeak) })
	step(counter, "calls_total", "Calls of the connector.", func(s *GuestStep) float64 { return float64(s.Calls) })
	step(counter, "fuel_total", "Fuel used, of which an instruction takes one or more: the same on every machine.", func(s *GuestStep) float64 { return float64(s.Fuel) })
	step(counter, "busy_seconds_total", "Time spent in calls of the connector, which never waits for anything.", func(s *GuestStep) float64 { return s.BusySeconds })
	host(gauge, "modules", "Modules that are loaded.", func(h *Guests) float64 { return float64(h.Modules) })
	host(gauge, "mappings", "Memory mappings of guests, at most; the system bounds those of a process.", func(h *Guests) float64 { return float64(h.Mappings) })
	host(gauge, "memory_limit_bytes", "What guests and snapshots together may have.", func(h *Guests) float64 { return float64(h.MemoryBytesMax) })
	host(gauge, "snapshot_bytes", "Memory that instances begin with and share.", func(h *Guests) float64 { return float64(h.SnapshotBytes) })
	host(gauge, "code_bytes", "Machine code of loaded modules.", func(h *Guests) float64 { return float64(h.CodeBytes) })
	host(counter, "code_unmapped_bytes_total", "Machine code of unloaded modules that was seen to be gone.", func(h *Guests) float64 { return float64(h.CodeUnmapped) })
	host(gauge, "code_not_unmapped_bytes", "Machine code of unloaded modules that is still there after several collections: 0.", func(h *Guests) float64 { return float64(h.CodeNotUnmapped) })
	return g
}

// Describe implements prometheus.Collector.
func (g *guests) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range g.steps {
		ch <- f.desc
	}
	for _, f := range g.host {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (g *guests) Collect(ch chan<- prometheus.Metric) {
	now := g.ask()
	for _, f := range g.host {
		ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&now))
	}
	for i := range now.Steps {
		s := &now.Steps[i]
		for _, f := range g.steps {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(s), s.Pipeline, s.Step)
		}
	}
}
