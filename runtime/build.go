package runtime

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/keyvalue"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/state"
)

// CodeUnknownKind is the code of the fault of a source, sink or format that
// this binary doesn't have.
const CodeUnknownKind = "unknown_kind"

// followed is what a source's configuration has that can say which tables it
// follows: a part of the pipeline's fingerprint.
type followed interface{ TableFilter() []string }

// builder makes pipelines out of their configuration.
type builder struct {
	d      *Daemon
	store  *state.Store
	host   *wasm.Host
	nats   *natsOnDemand
	module func(config.Module) ([]byte, error)
	until  pipeline.Until
	run    *pipeline.RunSpec // that is due; nil without a schedule
}

// build makes a pipeline; unload lets its modules go and is called once the
// pipeline has ended.
func (b *builder) build(ctx context.Context, c config.Pipeline) (p *pipeline.Pipeline, source cdc.Source, unload func(context.Context) error, err error) {
	modules, err := b.load(ctx, c.Steps)
	defer func() {
		if err != nil {
			err = errors.Join(err, closeModules(context.WithoutCancel(ctx), modules))
		}
	}()
	if err != nil {
		return nil, nil, nil, err
	}
	share := b.d.budget.Share(cmp.Or(int64(b.d.o.Config.Memory.InFlightMin), config.DefaultInFlightMin))
	chunks := b.d.budget.Share(0)
	defer func() {
		if err != nil {
			share.Close()
			chunks.Close()
		}
	}()
	unload = func(ctx context.Context) error {
		share.Close()
		chunks.Close()
		return closeModules(ctx, modules)
	}
	spec := pipeline.Spec{Name: c.Name, SourceKind: c.Source.Kind, Log: b.d.log, Now: b.d.o.Now,
		Until: b.until, Run: b.run, Drain: b.d.o.Drain, Share: share, Chunks: chunks}
	if spec.State, err = b.store.Pipeline(c.Name); err != nil {
		return nil, nil, nil, err
	}
	spec.State.LimitDeadLetters(haltAfter(c.Steps))
	if spec.Format, spec.Subject, err = b.output(c.Sink); err != nil {
		return nil, nil, nil, err
	}
	spec.Config = fingerprint(c, modules)
	b.keep(c, &spec.Config)
	if len(c.Steps) > 0 {
		metrics := b.d.metrics(c)
		spec.Steps = func(ctx context.Context) ([]pipeline.Step, error) {
			return openSteps(ctx, c, modules, spec.State, metrics)
		}
		spec.Stateful = slices.ContainsFunc(modules, func(m *wasm.Module) bool { return slices.Contains(m.Imports(), "kv") })
	}
	if spec.Source, err = b.source(c, &spec); err != nil {
		return nil, nil, nil, err
	}
	if spec.Sink, err = b.sink(c, spec.Config.Fingerprint); err != nil {
		return nil, nil, nil, errors.Join(err, spec.Source.Close())
	}
	b.d.audited(c.Name, spec.Sink)
	return pipeline.New(spec), spec.Source, unload, nil
}

// haltAfter returns how many dead letters of each step may be kept.
func haltAfter(steps []config.Step) map[string]int {
	limits := map[string]int{}
	for _, s := range steps {
		if s.HaltAfter > 0 {
			limits[s.Name] = int(s.HaltAfter)
		}
	}
	return limits
}

func (b *builder) source(c config.Pipeline, spec *pipeline.Spec) (cdc.Source, error) {
	kinds := b.d.o.Kinds.Sources
	i := slices.IndexFunc(kinds, func(k cdc.Kind) bool { return k.Name == c.Source.Kind })
	if i < 0 {
		return nil, unknownKind("source", c.Source.Kind)
	}
	var asked cdc.SnapshotLedger
	if b.until != pipeline.Finished { // what is finished is no place to begin anything
		q, err := b.d.requestsOf(c.Name, b.store)
		if err != nil {
			return nil, err
		}
		asked = q
	}
	return kinds[i].Open(c.Source.Value, cdc.Env{Requests: asked, Pipeline: c.Name, Log: b.d.log.With("pipeline", c.Name), Share: spec.Share, Chunks: spec.Chunks,
		Schemas: spec.State.Schemas(), Gaps: spec.State.Gaps(), Now: b.d.o.Now})
}

func (b *builder) sink(c config.Pipeline, fingerprint string) (sink.Sink, error) {
	kinds := b.d.o.Kinds.Sinks
	i := slices.IndexFunc(kinds, func(k sink.Kind) bool { return k.Name == c.Sink.Kind })
	if i < 0 {
		return nil, unknownKind("sink", c.Sink.Kind)
	}
	return kinds[i].Open(c.Sink.Value, sink.Env{Pipeline: c.Name, Log: b.d.log.With("pipeline", c.Name),
		NATS:       func(ctx context.Context) (*nats.Conn, error) { return b.nats.conn(ctx, c.Name) },
		SyncAlways: b.syncAlways(), Fingerprint: fingerprint, Now: b.d.o.Now})
}

// output returns the format and the subjects that a sink's configuration asks for.
func (b *builder) output(c config.Component) (format.Format, *subject.Template, error) {
	name, options, template := outputOf(c)
	kinds := b.d.o.Kinds.Formats
	i := slices.IndexFunc(kinds, func(k format.Kind) bool { return k.Name == name })
	if i < 0 {
		return nil, nil, unknownKind("format", name)
	}
	t, err := subject.Parse(template)
	f := kinds[i].New(options)
	if k, ok := c.Value.(sink.Keyed); ok && err == nil {
		row, ok := f.(format.Imager)
		if !ok {
			return nil, nil, fault.New(fault.Config, CodeUnknownKind, "format", "write json", "the format %q can't say a row without what happened to it", name)
		}
		f = keyvalue.New(row, k.KeyPrefix())
	}
	return f, t, err
}

// outputOf returns a sink's format, with its options where it has some, and its
// subjects.
func outputOf(c config.Component) (formatName string, options any, template string) {
	formatName, template = "json", subject.Default
	if f, ok := c.Value.(sink.Formatted); ok {
		formatName = f.FormatName()
	}
	if f, ok := c.Value.(sink.FormatConfigured); ok {
		options = f.FormatConfig()
	}
	if t, ok := c.Value.(sink.Templated); ok {
		template = t.SubjectTemplate()
	}
	return formatName, options, template
}

func unknownKind(what, name string) error {
	return fault.New(fault.Config, CodeUnknownKind, what, "see cdcd schema for what this cdcd has",
		"there is no %s of kind %q", what, name)
}

// load makes the steps' modules ready to run, all at once: those that must be
// compiled first take a while. What is loaded is returned also with an error,
// which is that of the first step that has one.
func (b *builder) load(ctx context.Context, steps []config.Step) ([]*wasm.Module, error) {
	modules, errs := make([]*wasm.Module, len(steps)), make([]error, len(steps))
	var wg sync.WaitGroup
	for i, s := range steps {
		wg.Go(func() { modules[i], errs[i] = b.loadStep(ctx, s) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return slices.DeleteFunc(modules, func(m *wasm.Module) bool { return m == nil }), err
		}
	}
	return modules, nil
}

func (b *builder) loadStep(ctx context.Context, s config.Step) (*wasm.Module, error) {
	code, err := b.code(s.Wasm)
	if err != nil {
		return nil, err
	}
	return b.host.Load(ctx, code)
}

// code returns a module's bytes, which have the digest that is written, if any.
func (b *builder) code(m config.Module) ([]byte, error) {
	code, err := b.module(m)
	if err != nil {
		return nil, err
	}
	return code, checkDigest(m, code)
}

func checkDigest(m config.Module, code []byte) error {
	sum := sha256.Sum256(code)
	if got := hex.EncodeToString(sum[:]); m.Digest != "" && !strings.EqualFold(m.Digest, got) {
		return fault.New(fault.Config, config.CodeDigestMismatch, m.Ref,
			"if the change is wanted, write @sha256:"+got, "%s has another digest than the one written", m.Name)
	}
	return nil
}

func closeModules(ctx context.Context, modules []*wasm.Module) error {
	var errs []error
	for _, m := range modules {
		errs = append(errs, m.Close(ctx))
	}
	return errors.Join(errs...)
}

func openSteps(ctx context.Context, c config.Pipeline, modules []*wasm.Module, kept *state.Pipeline, metrics []*wasm.Metrics) ([]pipeline.Step, error) {
	var steps []pipeline.Step
	for i, sc := range c.Steps {
		s, err := openStep(ctx, modules[i], c.Name, sc, kept, metrics[i])
		if err != nil {
			for _, open := range steps {
				_, cerr := open.Close(context.WithoutCancel(ctx))
				err = errors.Join(err, cerr)
			}
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// fingerprint identifies all that a pipeline's messages depend on, the log
// apart: followed tables, steps, modules, format and subjects.
func fingerprint(c config.Pipeline, modules []*wasm.Module) state.Steps {
	digests := make([]string, len(modules))
	for i, m := range modules {
		digests[i] = m.Digest()
	}
	return fingerprintOf(c, digests)
}

// fingerprintOf is fingerprint for modules of which the digests are known.
func fingerprintOf(c config.Pipeline, digests []string) state.Steps {
	type stepPart struct {
		Name, Digest string
		Only         []string
		With         json.RawMessage
		OnError      config.OnError
		Fuel         int64 `json:",omitempty"` // which rows it is too much for is the same on every machine
	}
	var all struct {
		Source           string
		Tables           []string
		Steps            []stepPart
		Format, Template string
		Options          json.RawMessage `json:",omitempty"` // of the format
	}
	all.Source = c.Source.Kind
	if f, ok := c.Source.Value.(followed); ok {
		all.Tables = f.TableFilter()
	}
	out := state.Steps{Digests: digests}
	for i, s := range c.Steps {
		all.Steps = append(all.Steps, stepPart{s.Name, digests[i], s.Only, s.With, s.OnError, int64(s.Limits.Fuel)})
	}
	var options any
	all.Format, options, all.Template = outputOf(c.Sink)
	own, err := json.Marshal(options)
	if err == nil && string(own) != "null" && string(own) != "{}" {
		all.Options = own
	}
	text, err2 := json.Marshal(all)
	if err = errors.Join(err, err2); err != nil { // With was decoded from JSON, and options are plain values
		panic(err)
	}
	sum := sha256.Sum256(text)
	out.Fingerprint = hex.EncodeToString(sum[:16])
	return out
}

// syncAlways reports whether the NATS server is the daemon's own, and syncs
// before each acknowledgement.
func (b *builder) syncAlways() bool {
	e := b.nats.config.NATS.Embedded
	return e != nil && e.Durability == config.DurabilityFsync
}
