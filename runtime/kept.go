package runtime

import (
	"encoding/json"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/state"
)

// A transaction that was delivered in part is finished with the tables, steps and
// modules that it was begun with: state keeps them until others are recorded.
// Secrets are not kept. Those of the step of the same name are used.

// refollowed is what a source's configuration has that can be made to follow
// other tables.
type refollowed interface{ WithTableFilter([]string) any }

// keptConfig is the part of a pipeline's configuration that its messages depend
// on, as it is kept.
type keptConfig struct {
	Tables []string   `json:"tables"`
	Steps  []keptStep `json:"steps,omitempty"`
}

type keptStep struct {
	Name    string          `json:"name"`
	Digest  string          `json:"digest"`
	Only    []string        `json:"only,omitempty"`
	With    json.RawMessage `json:"with"`
	Allow   []string        `json:"allow,omitempty"`
	Memory  int64           `json:"memory,omitempty"`
	Fuel    int64           `json:"fuel,omitempty"`
	KV      int64           `json:"kv,omitempty"`
	Time    unit.Duration   `json:"time,omitempty"`
	OnError config.OnError  `json:"on_error"`
}

// keep adds to what is recorded of a configuration all that it takes to use it
// again.
func (b *builder) keep(c config.Pipeline, st *state.Steps) {
	var k keptConfig
	if f, ok := c.Source.Value.(followed); ok {
		k.Tables = f.TableFilter()
	}
	refs := map[string]config.Module{}
	for i, s := range c.Steps {
		k.Steps = append(k.Steps, keptStep{Name: s.Name, Digest: st.Digests[i], Only: s.Only, With: s.With, Allow: s.Allow, Memory: int64(s.Limits.Memory),
			Fuel: int64(s.Limits.Fuel), KV: int64(s.Limits.KV), Time: s.Limits.Time, OnError: s.OnError})
		refs[st.Digests[i]] = s.Wasm
	}
	text, err := json.Marshal(k)
	if err != nil { // With was decoded from JSON
		panic(err)
	}
	st.Config = text
	st.Module = func(digest string) ([]byte, error) {
		m := refs[digest]
		m.Digest = digest // a file may have been replaced since it was loaded
		return b.code(m)
	}
}

// kept returns what the pipeline's last messages were made with, and a builder
// that finishes a transaction with it; ok is false when that was not kept, or
// when another kind of source or sink, another format or subject is asked for.
func (b *builder) kept(c config.Pipeline) (before config.Pipeline, finish *builder, ok bool, err error) {
	store, err := b.store.Pipeline(c.Name)
	if err != nil {
		return c, nil, false, err
	}
	st, known, err := store.LoadSteps()
	if err != nil || !known || len(st.Config) == 0 {
		return c, nil, false, err
	}
	var k keptConfig
	if err := json.Unmarshal(st.Config, &k); err != nil {
		return c, nil, false, fmt.Errorf("the steps of %s as they were: %w", c.Name, err)
	}
	source, can := c.Source.Value.(refollowed)
	if !can {
		return c, nil, false, nil
	}
	before = config.Pipeline{Name: c.Name, Source: config.Component{Kind: c.Source.Kind, Value: source.WithTableFilter(k.Tables)}, Sink: c.Sink}
	for _, s := range k.Steps {
		step := config.Step{Wasm: config.Module{Ref: "as it was", Name: s.Name, Digest: s.Digest}, Name: s.Name, Only: s.Only, With: s.With, Allow: s.Allow,
			Limits:  config.Limits{Memory: unit.Bytes(s.Memory), Fuel: unit.Count(s.Fuel), KV: unit.Bytes(s.KV), Time: s.Time},
			OnError: s.OnError}
		for _, now := range c.Steps {
			if now.Name == s.Name {
				step.Secrets = now.Secrets
			}
		}
		before.Steps = append(before.Steps, step)
	}
	if fingerprintOf(before, st.Digests).Fingerprint != st.Fingerprint {
		return c, nil, false, nil
	}
	other := *b
	other.until = pipeline.Finished
	other.module = func(m config.Module) ([]byte, error) {
		code, ok, err := store.Module(m.Digest)
		if err == nil && !ok {
			err = fault.New(fault.Config, pipeline.CodeConfigChanged, c.Name, "run with the modules of the last run until it has stopped in order, then change them",
				"delivery stopped inside a transaction, and the module %s that it was begun with was not kept", m.Digest)
		}
		return code, err
	}
	return before, &other, true, nil
}
