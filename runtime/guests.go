package runtime

import (
	"context"
	"time"

	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

// codeIdle is how long a connector's code stays loaded that no pipeline uses.
const codeIdle = 30 * time.Second

// Guests returns what connectors hold and have used.
func (d *Daemon) Guests() telemetry.Guests {
	d.mu.Lock()
	h := d.host
	d.mu.Unlock()
	if h == nil {
		return telemetry.Guests{}
	}
	s := h.Stats()
	g := telemetry.Guests{Modules: s.Modules, ModulesIdle: s.Idle, Instances: s.Instances, Mappings: s.Mappings,
		MemoryBytes: s.MemoryBytes, MemoryBytesPeak: s.MemoryBytesPeak, MemoryBytesMax: s.MemoryBytesMax, SnapshotBytes: s.SnapshotBytes,
		CodeBytes: s.CodeBytes, CodePending: s.CodeBytesPending, CodeUnmapped: s.CodeBytesUnmapped, CodeNotUnmapped: s.CodeBytesLost,
		Compile: compileOf(h.CompileStats())}
	for _, u := range h.Usage() {
		g.Steps = append(g.Steps, telemetry.GuestStep{Pipeline: u.Pipeline, Step: u.Step, Instances: u.Instances, InstancesPeak: u.InstancesPeak,
			MemoryBytes: u.MemoryBytes, MemoryBytesPeak: u.MemoryBytesPeak, Calls: u.Calls, Fuel: u.Fuel, BusySeconds: u.Busy.Seconds()})
	}
	return g
}

func compileOf(s wasm.CompileStats) telemetry.GuestCompile {
	return telemetry.GuestCompile{Hits: s.Cache.Hits, Misses: s.Cache.Misses, Damaged: s.Cache.Damaged, Evictions: s.Cache.Evictions,
		Unwritten: s.Cache.Failures, CacheBytes: s.Cache.Bytes, Compiled: s.Compiled, Failed: s.Failed,
		Seconds: s.Time.Seconds(), LoadSeconds: s.LoadTime.Seconds()}
}

// Unloaded returns what became of the connectors' machine code: nothing yet
// before Run has ended.
func (d *Daemon) Unloaded() wasm.Unloaded {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unloaded
}

// closeHost ends the host, and sees to it that nothing of it is left.
func (d *Daemon) closeHost(ctx context.Context, h *wasm.Host) error {
	if err := h.Close(ctx); err != nil {
		return err
	}
	u, err := h.Verify(ctx)
	d.mu.Lock()
	d.unloaded = u
	d.mu.Unlock()
	d.log.Info("connectors unloaded", "receipt", u)
	return err
}
