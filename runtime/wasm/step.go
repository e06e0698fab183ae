package wasm

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// StepConfig configures a Step.
type StepConfig struct {
	Instance InstanceConfig
	// Only chooses the tables whose rows the connector sees; nil for all. Rows of
	// other tables never enter its memory. It is asked once per table.
	Only func(*sdk.Schema) bool
}

// Step is a connector in a pipeline: an instance, a new one after a crash, the
// choice of rows, and the row that a crash was about. A Step is used by one
// goroutine at a time; MemoryBytes and Restarts may be called from any.
type Step struct {
	module *Module
	config StepConfig
	inst   atomic.Pointer[Instance] // read by whoever asks for the memory
	chosen []chosen                 // by schema id
	// restarts counts the instances made anew after a crash or a timeout.
	restarts atomic.Int64
}

type chosen struct {
	schema *sdk.Schema
	yes    bool
}

// NewStep makes a step with its first instance. The error is Instantiate's. The
// module stays the caller's to close, after the step.
func NewStep(ctx context.Context, m *Module, c StepConfig) (*Step, error) {
	if c.Instance.Metrics == nil {
		c.Instance.Metrics = NewMetrics()
	}
	c.Instance.overlay = newOverlay(c.Instance.path(), c.Instance.KV, c.Instance.KVBytesMax)
	inst, err := m.Instantiate(ctx, c.Instance)
	if err != nil {
		return nil, err
	}
	s := &Step{module: m, config: c}
	s.inst.Store(inst)
	return s, nil
}

// Name returns the step's name.
func (s *Step) Name() string { return s.config.Instance.Step }

// Module returns the module that the step runs.
func (s *Step) Module() *Module { return s.module }

// MemoryBytes returns the memory that the step's instance has.
func (s *Step) MemoryBytes() int64 { return s.inst.Load().MemoryBytes() }

// Metrics returns what the connector counts.
func (s *Step) Metrics() *Metrics { return s.config.Instance.Metrics }

// Restarts returns how many instances were made anew after a crash or a timeout.
func (s *Step) Restarts() int { return int(s.restarts.Load()) }

// Schema returns the schema of the rows that the step gives for a table.
func (s *Step) Schema(ctx context.Context, in *sdk.Schema) (*sdk.Schema, error) {
	if !s.chooses(in) {
		return in, nil
	}
	return s.inst.Load().Schema(ctx, in)
}

// Close ends the step's instance.
func (s *Step) Close(ctx context.Context) (Receipt, error) { return s.inst.Load().Close(ctx) }

// Process gives the batch's chosen rows to the connector and puts what comes of
// the batch into res. Rows that the connector refuses or crashes on are in
// res.Dead, for the caller to decide about; res.Out is without them. in is not
// changed, and must not be until res is done with.
//
// A crash, or a call out of fuel, is retried on fresh instances with ever smaller parts of the batch
// until the row is alone. A timeout is retried once, on a fresh instance, and is
// then the error: a slow machine must not refuse a good row. Errors are
// Transform's.
func (s *Step) Process(ctx context.Context, in *sdk.Batch, res *Result) error {
	if s.inst.Load().Err() != nil && ctx.Err() == nil { // an earlier call was cut short
		if err := s.restart(ctx); err != nil {
			return err
		}
	}
	s.config.Instance.overlay.reset()
	all, none := s.choose(in)
	if none {
		res.reset()
		res.Out = in
		res.Passed = in.Rows()
		return nil
	}
	if all {
		err := s.attempt(ctx, in, res)
		if err == nil {
			res.Writes = s.config.Instance.overlay.appendTo(res.Writes)
		}
		if !blamesRows(err) {
			return err
		}
		if err := s.restart(ctx); err != nil {
			return err
		}
	}
	return s.pick(ctx, in, res, all)
}

// attempt transforms a whole batch, once more after a timeout.
func (s *Step) attempt(ctx context.Context, in *sdk.Batch, res *Result) error {
	err := s.inst.Load().Transform(ctx, in, res)
	if fault.HasCode(err, codeTimeout) && ctx.Err() == nil {
		if err := s.restart(ctx); err != nil {
			return err
		}
		err = s.inst.Load().Transform(ctx, in, res)
	}
	return err
}

// blamesRows reports whether a call failed for what is in its rows: crashes
// and fuel are the same on every machine and every run, time is not.
func blamesRows(err error) bool { return fault.HasCode(err, codeTrap) || fault.HasCode(err, codeFuel) }

// restart replaces the instance.
func (s *Step) restart(ctx context.Context) error {
	_, closeErr := s.inst.Load().Close(ctx)
	inst, err := s.module.Instantiate(ctx, s.config.Instance)
	if err != nil {
		return errors.Join(err, closeErr)
	}
	s.inst.Store(inst)
	s.restarts.Add(1)
	return closeErr
}

// choose reports whether the connector sees all rows of the batch, or none.
func (s *Step) choose(in *sdk.Batch) (all, none bool) {
	all, none = true, true
	for i := range in.Rows() {
		if s.chooses(in.Row(i).Schema()) {
			none = false
		} else {
			all = false
		}
	}
	return all && !none, none
}

func (s *Step) chooses(schema *sdk.Schema) bool {
	if s.config.Only == nil {
		return true
	}
	for int(schema.ID) >= len(s.chosen) {
		s.chosen = append(s.chosen, chosen{})
	}
	c := &s.chosen[schema.ID]
	if c.schema != schema {
		*c = chosen{schema, s.config.Only(schema)}
	}
	return c.yes
}
