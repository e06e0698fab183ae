package wasm

import (
	"cmp"
	"slices"
)

// account is a pipeline's ledger and those of its steps.
type account struct {
	ledger
	name    string
	steps   map[string]*ledger
	retired bool // it has no instances, and is in Host.retired
}

// What is kept of pipelines and steps that have no instance, so that
// their counters go on when they come back.
const (
	accountsRetiredMax = 128
	stepsMax           = 64
)

// ledgerOf returns the ledger of a step. The caller holds h.mu.
func (h *Host) ledgerOf(pipeline, step string) *ledger {
	a := h.accounts[pipeline]
	if a == nil {
		a = &account{name: pipeline, steps: map[string]*ledger{}}
		a.within, a.whose, a.bytesMax = &h.guests, "the pipeline", h.pipelineBytesMax
		h.accounts[pipeline] = a
	}
	if a.retired {
		a.retired = false
		h.retired = slices.DeleteFunc(h.retired, func(other *account) bool { return other == a })
	}
	l := a.steps[step]
	if l == nil {
		if len(a.steps) >= stepsMax {
			for name, old := range a.steps {
				if old.instances.now.Load() == 0 {
					delete(a.steps, name)
				}
			}
		}
		l = &ledger{within: &a.ledger}
		a.steps[step] = l
	}
	return l
}

// settle retires a pipeline's account when it has no instance any more. The
// caller holds h.mu.
func (h *Host) settle(pipeline string) {
	a := h.accounts[pipeline]
	if a == nil || a.retired || a.instances.now.Load() > 0 {
		return
	}
	a.retired = true
	if h.retired = append(h.retired, a); len(h.retired) > accountsRetiredMax {
		delete(h.accounts, h.retired[0].name)
		h.retired = slices.Delete(h.retired, 0, 1)
	}
}

// StepUsage is what a step of a pipeline holds and has used.
type StepUsage struct {
	Pipeline string `json:"pipeline"`
	Step     string `json:"step"`
	Usage
}

// Usage returns what each step holds and has used since the host began, by pipeline and
// step. The counters of a pipeline outlive its instances; of pipelines that
// have none, the last 128 are kept.
func (h *Host) Usage() []StepUsage {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []StepUsage
	for _, a := range h.accounts {
		for name, l := range a.steps {
			list = append(list, StepUsage{a.name, name, l.usage()})
		}
	}
	slices.SortFunc(list, func(a, b StepUsage) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Step, b.Step))
	})
	return list
}

// PipelineUsage returns what the pipeline's steps hold and have used together;
// false if it is not known.
func (h *Host) PipelineUsage(pipeline string) (Usage, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.accounts[pipeline]
	if a == nil {
		return Usage{}, false
	}
	return a.usage(), true
}
