package runtime

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/budget"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/admin"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

const (
	// closeTimeout bounds the end of NATS and the WebAssembly host.
	closeTimeout = 15 * time.Second
	// stateWait is how long a daemon waits for a state that somebody has open.
	stateWait  = 5 * time.Second
	stateRetry = 50 * time.Millisecond
)

// Kinds are the kinds of sources, sinks and formats that configurations may name.
type Kinds struct {
	Sources []cdc.Kind
	Sinks   []sink.Kind
	Formats []format.Kind
}

// Options are what a Daemon is made of.
type Options struct {
	Config *config.Config
	Kinds  Kinds
	// Module returns the bytes of a module that the configuration names, after
	// checking its digest.
	Module func(config.Module) ([]byte, error)
	// Only names the pipelines to run; empty for all.
	Only []string
	// Until is given to each pipeline.
	Until pipeline.Until
	// Stay keeps Run going until ctx ends, also when no pipeline runs any more.
	Stay  bool
	Drain time.Duration // 0 for pipeline.DrainDefault
	// AuditEvery is how often streams are looked over; 0 for every 30 seconds.
	AuditEvery time.Duration
	// Compile says where modules are compiled, and must be set: wasm.CompileApart
	// in a program that knows wasm.CompileVerb.
	Compile wasm.Compiling
	// CacheDir keeps compiled code; empty for a folder of the state directory.
	CacheDir string
	Version  string
	Log      *slog.Logger
	Now      func() time.Time
	// ScheduleNow is the clock of schedules; nil for Now.
	ScheduleNow func() time.Time
}

// Daemon runs pipelines. See Run.
type Daemon struct {
	o      Options
	log    *slog.Logger
	budget *budget.Budget

	mu     sync.Mutex
	jobs   []*job // in the order of the configuration
	admin  *admin.Server
	nats   *natsOnDemand      // nil before Run
	host   *wasm.Host         // nil before Run
	store  *state.Store       // nil before Run
	copies *remote.Replicator // nil before Run, and where none are made

	unloaded wasm.Unloaded
}

// job is one pipeline of the configuration.
type job struct {
	config   config.Pipeline
	pipeline *pipeline.Pipeline // nil until built
	fault    *fault.Fault       // why it could not be built
	since    time.Time
	metrics  []*wasm.Metrics // of its steps, in order
	audit    *audit          // of its sink; nil for none
	requests *requests       // for copies of tables; nil until somebody needs them
	source   cdc.Source      // of pipeline

	runs *scheduler        // nil without a schedule, and before Run
	past *telemetry.Status // as it was when a run ended; nil before
}

// New returns a Daemon. It opens and starts nothing.
func New(o Options) (*Daemon, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.ScheduleNow == nil {
		o.ScheduleNow = o.Now
	}
	if o.AuditEvery == 0 {
		o.AuditEvery = auditEvery
	}
	inFlight := cmp.Or(int64(o.Config.Memory.InFlight), config.DefaultInFlight)
	d := &Daemon{o: o, log: o.Log, budget: budget.New(inFlight)}
	for _, c := range o.Config.Pipelines {
		if len(o.Only) == 0 || slices.Contains(o.Only, c.Name) {
			d.jobs = append(d.jobs, &job{config: c, since: o.Now()})
		}
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(d.jobs, func(j *job) bool { return j.config.Name == name }) {
			return nil, fault.New(fault.Config, "no_such_pipeline", name,
				"the configuration has: "+strings.Join(pipelineNames(o.Config), ", "), "there is no pipeline %q", name)
		}
	}
	return d, nil
}

func pipelineNames(c *config.Config) []string {
	var names []string
	for _, p := range c.Pipelines {
		names = append(names, p.Name)
	}
	return names
}

// Run opens the state, runs all pipelines and ends everything in order. It
// returns when ctx ends or no pipeline runs any more; its error joins the
// faults of pipelines that halted. Run may be called once.
func (d *Daemon) Run(ctx context.Context) (err error) {
	bucket, err := d.replica()
	if err != nil {
		return err
	}
	if bucket != nil {
		defer bucket.Close()
		if err := d.restore(ctx, bucket); err != nil {
			return err
		}
	}
	store, err := d.openState(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	cache := cmp.Or(d.o.CacheDir, filepath.Join(d.o.Config.State.Dir, "wasm"))
	host, err := wasm.NewHost(wasm.Options{Compile: d.o.Compile, CacheDir: cache, Idle: codeIdle, Log: d.log})
	if err != nil {
		return err
	}
	server := &natsOnDemand{config: d.o.Config, log: d.log}
	d.mu.Lock()
	d.nats, d.host, d.store = server, host, store
	d.mu.Unlock()
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, d.closeHost(end, host), server.close(end))
	}()
	work, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	if d.o.Config.Server != nil {
		if err := d.serve(work, &helpers, *d.o.Config.Server); err != nil {
			return err
		}
	}
	helpers.Go(func() { // a state that fails ends all pipelines, in order
		select {
		case <-store.Failed():
			stop()
		case <-work.Done():
		}
	})
	if copies := d.replicator(bucket, store); copies != nil {
		copying, end := context.WithCancel(context.WithoutCancel(ctx)) // the last copy has what pipelines write at their end
		defer end()
		helpers.Go(func() { copies.Run(copying) })
	}
	faults := d.runJobs(work, &builder{d: d, store: store, host: host, nats: server, module: d.o.Module, until: d.o.Until})
	if d.o.Stay {
		<-work.Done()
	}
	return errors.Join(faults...)
}

// openState opens the state. A verb that was called while no daemon ran has it for
// a moment: that is waited for.
func (d *Daemon) openState(ctx context.Context) (*state.Store, error) {
	for end := time.Now().Add(stateWait); ; {
		store, err := state.Open(d.o.Config.State.Dir, state.Options{Log: d.log, Now: d.o.Now, Copies: d.o.Config.State.Replicate != nil})
		if !fault.HasCode(err, state.CodeDirInUse) || time.Now().After(end) {
			return store, err
		}
		select {
		case <-time.After(stateRetry):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// runJobs runs all pipelines until each has ended, and returns their faults.
func (d *Daemon) runJobs(ctx context.Context, b *builder) []error {
	faults := make([]error, len(d.jobs))
	var wg sync.WaitGroup
	for i, j := range d.jobs {
		wg.Go(func() { faults[i] = d.runJob(ctx, b, j) })
	}
	wg.Wait()
	return faults
}

// runJob runs one pipeline: always, or when it is due.
func (d *Daemon) runJob(ctx context.Context, b *builder, j *job) error {
	if j.config.Schedule != nil {
		return d.runScheduled(ctx, b, j)
	}
	return d.runOnce(ctx, b, j)
}

// runOnce runs one pipeline. Where its configuration was changed while delivery
// stood inside a transaction, that one is finished first with what it was.
func (d *Daemon) runOnce(ctx context.Context, b *builder, j *job) error {
	err := d.runConfig(ctx, b, j, j.config)
	if !fault.HasCode(err, pipeline.CodeConfigChanged) {
		return err
	}
	c, before, ok, kerr := b.kept(j.config)
	if kerr != nil || !ok {
		return errors.Join(err, kerr)
	}
	d.log.Info("delivery stands inside a transaction: it is finished with the configuration that it was begun with", "pipeline", j.config.Name)
	if err := d.runConfig(ctx, before, j, c); err != nil || ctx.Err() != nil {
		return err
	}
	return d.runConfig(ctx, b, j, j.config)
}

// runConfig builds and runs one pipeline.
func (d *Daemon) runConfig(ctx context.Context, b *builder, j *job, c config.Pipeline) error {
	var p *pipeline.Pipeline
	var source cdc.Source
	var unload func(context.Context) error
	letters, err := b.deadPublisher(j.config)
	if err == nil {
		p, source, unload, err = b.build(ctx, c)
	}
	d.mu.Lock()
	j.pipeline, j.source = p, source
	if err != nil {
		j.fault, j.since = fault.Of(err), d.o.Now()
	}
	d.mu.Unlock()
	if err != nil {
		d.log.Error("the pipeline can't run", "pipeline", j.config.Name, "error", err, "hint", fault.Of(err).Hint)
		return err
	}
	var beside sync.WaitGroup // what works for the pipeline as long as it runs
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if j.audit != nil {
		beside.Go(func() { j.audit.run(running) })
	}
	if letters != nil {
		beside.Go(func() { letters.run(running) })
	}
	err = p.Run(ctx)
	end()
	beside.Wait()
	return errors.Join(err, unload(context.WithoutCancel(ctx)))
}

// metrics returns what the connectors of a pipeline's steps count, by step. A
// pipeline that runs again goes on counting.
func (d *Daemon) metrics(c config.Pipeline) []*wasm.Metrics {
	list := make([]*wasm.Metrics, len(c.Steps))
	for i := range list {
		list[i] = wasm.NewMetrics()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j.config.Name != c.Name {
			continue
		}
		if j.past != nil && len(j.metrics) == len(list) {
			return j.metrics
		}
		j.metrics = list
	}
	return list
}

// Pipeline returns a running pipeline by its name.
func (d *Daemon) Pipeline(name string) (*pipeline.Pipeline, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jobs {
		if j.config.Name == name && j.pipeline != nil {
			return j.pipeline, true
		}
	}
	return nil, false
}

// AdminAddr returns the address that the admin server listens on; empty
// without one.
func (d *Daemon) AdminAddr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr()
}

// Connect returns a connection to the daemon's NATS, for looking at what the
// pipelines wrote. It ends with the daemon. Before Run it is a fault.
func (d *Daemon) Connect(ctx context.Context) (*nats.Conn, error) {
	d.mu.Lock()
	n := d.nats
	d.mu.Unlock()
	if n == nil {
		return nil, fault.New(fault.Retryable, natsd.CodeUnreachable, "", "ask again once the daemon runs", "the daemon does not run yet")
	}
	return n.conn(ctx, "reader")
}

// serve starts the admin server; pipelines go on without it if it fails later.
func (d *Daemon) serve(ctx context.Context, helpers *sync.WaitGroup, c config.Server) error {
	registry := telemetry.Registry(d.o.Version, states(), d.Status, d.o.Now)
	registry.MustRegister(telemetry.NewStreams(alarmCodes(), d.Status), telemetry.NewNATS(d.natsHealth))
	registry.MustRegister(telemetry.NewGuests(d.Guests), telemetry.NewReplica(d.Replica, d.o.Now))
	s, err := admin.New(c, admin.Options{Status: d.Status, Guests: d.Guests, Replica: d.Replica, Log: d.log, Registry: registry,
		Checkpoints: d.Checkpoints, ExportState: d.ExportState,
		DeadLetters: func(pipeline string) (admin.DeadLetters, error) { return d.DeadLetters(pipeline) },
		Snapshots:   func(pipeline string) (admin.Snapshots, error) { return d.Snapshots(pipeline) }})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.admin = s
	d.mu.Unlock()
	helpers.Go(func() {
		if err := s.Run(ctx); err != nil {
			d.log.Error("the admin server ended", "error", err)
		}
	})
	return nil
}
