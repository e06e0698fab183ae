package runtime

import (
	"context"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
)

// step is a WebAssembly step as the pipeline wants it.
type step struct {
	*wasm.Step
	onError pipeline.OnError
	result  wasm.Result
	failed  []pipeline.Failure
	writes  []pipeline.Write
}

func (s *step) OnError() pipeline.OnError { return s.onError }

func (s *step) Memory() int64 { return s.MemoryBytes() }

func (s *step) Process(ctx context.Context, in *sdk.Batch) (pipeline.Output, error) {
	if err := s.Step.Process(ctx, in, &s.result); err != nil {
		return pipeline.Output{}, err
	}
	s.failed = s.failed[:0]
	for _, d := range s.result.Dead {
		s.failed = append(s.failed, pipeline.Failure{Row: d.Row, Reason: d.Reason})
	}
	s.writes = s.writes[:0]
	for _, w := range s.result.Writes {
		s.writes = append(s.writes, pipeline.Write(w))
	}
	return pipeline.Output{Batch: s.result.Out, Failed: s.failed, Dropped: s.result.Dropped, Writes: s.writes}, nil
}

func (s *step) Close(ctx context.Context) (any, error) {
	r, err := s.Step.Close(ctx)
	return r, err
}

// openStep instantiates a loaded module.
func openStep(ctx context.Context, m *wasm.Module, pipelineName string, c config.Step, kept *state.Pipeline, metrics *wasm.Metrics) (pipeline.Step, error) {
	sc := wasm.StepConfig{Instance: wasm.InstanceConfig{Pipeline: pipelineName, Step: c.Name, Config: c.With,
		Capabilities: c.Allow, Secrets: c.Secrets, KV: kept.Values(c.Name), KVBytesMax: int64(c.Limits.KV), Metrics: metrics,
		MemoryBytesMax: int64(c.Limits.Memory), Fuel: int64(c.Limits.Fuel), Time: c.Limits.Time.Std()}}
	if len(c.Only) > 0 {
		sc.Only = func(s *sdk.Schema) bool { return matchesAny(c.Only, s.FullName()) }
	}
	s, err := wasm.NewStep(ctx, m, sc)
	if err != nil {
		return nil, err
	}
	return &step{Step: s, onError: pipeline.OnError(c.OnError)}, nil
}

// matchesAny reports whether a table's name is one of the patterns, in which *
// stands for any characters.
func matchesAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

func matches(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return name == pattern
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	for {
		piece, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, rest)
		}
		at := strings.Index(name, piece)
		if at < 0 {
			return false
		}
		name, rest = name[at+len(piece):], more
	}
}
