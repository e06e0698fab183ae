package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Guests is what the WebAssembly host holds and has used at one moment.
type Guests struct {
	Steps []GuestStep `json:"steps,omitempty"`

	Modules         int   `json:"modules"`           // loaded, idle ones included
	ModulesIdle     int   `json:"modules_idle"`      // of them, those that no step uses
	Instances       int   `json:"instances"`         // of all steps
	Mappings        int   `json:"mappings"`          // of the system's, for guest memories, at most
	MemoryBytes     int64 `json:"memory_bytes"`      // open to all guests
	MemoryBytesPeak int64 `json:"memory_bytes_peak"` // the most that it ever was
	MemoryBytesMax  int64 `json:"memory_bytes_max"`  // for guests and snapshots together
	SnapshotBytes   int64 `json:"snapshot_bytes"`    // that instances begin with and share
	CodeBytes       int64 `json:"code_bytes"`        // machine code of loaded modules
	CodePending     int64 `json:"code_bytes_pending"`
	CodeUnmapped    int64 `json:"code_bytes_unmapped"`
	CodeNotUnmapped int64 `json:"code_bytes_not_unmapped"` // unloaded, and still there after several collections: 0

	Compile GuestCompile `json:"compile"`
}

// GuestCompile is what getting machine code took since the process started.
type GuestCompile struct {
	Hits        int64   `json:"hits"`   // of the cache
	Misses      int64   `json:"misses"` // damaged entries included
	Damaged     int64   `json:"damaged"`
	Evictions   int64   `json:"evictions"`
	Unwritten   int64   `json:"unwritten"` // entries that could not be written
	CacheBytes  int64   `json:"cache_bytes"`
	Compiled    int64   `json:"compiled"` // modules
	Failed      int64   `json:"failed"`   // refused by the compiler, or over a limit of its
	Seconds     float64 `json:"seconds"`  // spent compiling
	LoadSeconds float64 `json:"load_seconds"`
}

// GuestStep is what the instances of a step hold and have used.
type GuestStep struct {
	Pipeline        string  `json:"pipeline"`
	Step            string  `json:"step"`
	Instances       int64   `json:"instances"`
	InstancesPeak   int64   `json:"instances_peak"`
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
	return &guests{ask: ask, steps: stepFamilies(), host: append(hostFamilies(), compileFamilies()...)}
}

func guestMetric[T any](labels []string, kind prometheus.ValueType, name, help string, value func(*T) float64) guestFamily[T] {
	return guestFamily[T]{prometheus.NewDesc("cdcd_wasm_"+name, help, labels, nil), kind, value}
}

func stepFamilies() []guestFamily[GuestStep] {
	of := func(kind prometheus.ValueType, name, help string, value func(*GuestStep) float64) guestFamily[GuestStep] {
		return guestMetric([]string{"pipeline", "step"}, kind, name, help, value)
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []guestFamily[GuestStep]{
		of(gauge, "instances", "Instances of the step.", func(s *GuestStep) float64 { return float64(s.Instances) }),
		of(gauge, "instances_peak", "The most instances that the step had at once.", func(s *GuestStep) float64 { return float64(s.InstancesPeak) }),
		of(gauge, "memory_bytes", "Memory that is open to the step's instances.", func(s *GuestStep) float64 { return float64(s.MemoryBytes) }),
		of(gauge, "memory_peak_bytes", "The most memory that was open to them.", func(s *GuestStep) float64 { return float64(s.MemoryBytesPeak) }),
		of(counter, "calls_total", "Calls of the connector.", func(s *GuestStep) float64 { return float64(s.Calls) }),
		of(counter, "fuel_total", "Fuel used, of which an instruction takes one or more: the same on every machine.", func(s *GuestStep) float64 { return float64(s.Fuel) }),
		of(counter, "busy_seconds_total", "Time spent in calls of the connector, which never waits for anything.", func(s *GuestStep) float64 { return s.BusySeconds }),
	}
}

func hostFamilies() []guestFamily[Guests] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	of := func(kind prometheus.ValueType, name, help string, value func(*Guests) float64) guestFamily[Guests] {
		return guestMetric(nil, kind, name, help, value)
	}
	return []guestFamily[Guests]{
		of(gauge, "modules", "Modules that are loaded.", func(h *Guests) float64 { return float64(h.Modules) }),
		of(gauge, "modules_idle", "Modules that are loaded and that no step uses; they go after 30 s.", func(h *Guests) float64 { return float64(h.ModulesIdle) }),
		of(gauge, "mappings", "Memory mappings of guests, at most; the system bounds those of a process.", func(h *Guests) float64 { return float64(h.Mappings) }),
		of(gauge, "all_memory_bytes", "Memory that is open to the instances of all steps.", func(h *Guests) float64 { return float64(h.MemoryBytes) }),
		of(gauge, "all_memory_peak_bytes", "The most memory that was open to all of them at once.", func(h *Guests) float64 { return float64(h.MemoryBytesPeak) }),
		of(gauge, "memory_limit_bytes", "What guests and snapshots together may have.", func(h *Guests) float64 { return float64(h.MemoryBytesMax) }),
		of(gauge, "snapshot_bytes", "Memory that instances begin with and share.", func(h *Guests) float64 { return float64(h.SnapshotBytes) }),
		of(gauge, "code_bytes", "Machine code of loaded modules.", func(h *Guests) float64 { return float64(h.CodeBytes) }),
		of(gauge, "code_pending_bytes", "Machine code of unloaded modules that a collection has yet to unmap.", func(h *Guests) float64 { return float64(h.CodePending) }),
		of(counter, "code_unmapped_bytes_total", "Machine code of unloaded modules that was seen to be gone.", func(h *Guests) float64 { return float64(h.CodeUnmapped) }),
		of(gauge, "code_not_unmapped_bytes", "Machine code of unloaded modules that is still there after several collections: 0.", func(h *Guests) float64 { return float64(h.CodeNotUnmapped) }),
	}
}

func compileFamilies() []guestFamily[Guests] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	of := func(kind prometheus.ValueType, name, help string, value func(*GuestCompile) float64) guestFamily[Guests] {
		return guestMetric(nil, kind, name, help, func(h *Guests) float64 { return value(&h.Compile) })
	}
	return []guestFamily[Guests]{
		of(counter, "code_cache_hits_total", "Loads whose machine code was in the cache.", func(c *GuestCompile) float64 { return float64(c.Hits) }),
		of(counter, "code_cache_misses_total", "Loads whose machine code was not in the cache, or damaged.", func(c *GuestCompile) float64 { return float64(c.Misses) }),
		of(counter, "code_cache_damaged_total", "Entries of the cache that did not verify; they were removed and made anew.", func(c *GuestCompile) float64 { return float64(c.Damaged) }),
		of(counter, "code_cache_evictions_total", "Entries of the cache that were removed for want of room.", func(c *GuestCompile) float64 { return float64(c.Evictions) }),
		of(counter, "code_cache_unwritten_total", "Entries of the cache that could not be written.", func(c *GuestCompile) float64 { return float64(c.Unwritten) }),
		of(gauge, "code_cache_bytes", "All entries of the cache, as far as this process knows.", func(c *GuestCompile) float64 { return float64(c.CacheBytes) }),
		of(counter, "compiled_total", "Modules that were compiled.", func(c *GuestCompile) float64 { return float64(c.Compiled) }),
		of(counter, "compile_failures_total", "Modules that the compiler refused, or that went over a limit of its.", func(c *GuestCompile) float64 { return float64(c.Failed) }),
		of(counter, "compile_seconds_total", "Time spent compiling, the child's start included.", func(c *GuestCompile) float64 { return c.Seconds }),
		of(counter, "code_load_seconds_total", "Time spent loading machine code from the cache.", func(c *GuestCompile) float64 { return c.LoadSeconds }),
	}
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
