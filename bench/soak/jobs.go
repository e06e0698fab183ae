package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/format"
	formatjson "github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/sink"
	sinkjetstream "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

const (
	// jobRows is what each job moves.
	jobRows = 200
	// jobDigests is how many modules the jobs take turns with.
	jobDigests = 60
	// jobStreams is how many names the jobs' streams take turns with, each made
	// anew and deleted: nats-server 2.15 keeps half a kilobyte for each name of a
	// stream that it ever deleted.
	jobStreams = 20
)

// jobsWarmUp is how many jobs come before the first look: all modules, once.
func jobsWarmUp(jobs int) int { return min(jobs/2, 2*jobDigests) }

// jobs is a soak of whole pipelines: each is made, reads a MySQL's binlog from
// its beginning, runs its rows through a module, publishes them to a JetStream
// that serves all, ends, and is deleted with its state and its stream.
type jobs struct {
	guests *guests
	db     *testserver.DB
	nats   *natsd.NATS
	conn   *nats.Conn // of the soak's own
	dir    string
	kinds  runtime.Kinds
}

// newJobs starts the servers; they end with t, but for close.
func newJobs(ctx context.Context, t testing.TB, g *guests) (*jobs, error) {
	j := newSource(t, g)
	var err error
	if j.nats, err = natsd.Start(ctx, natsd.Config{Dir: filepath.Join(j.dir, "nats"), Listen: "127.0.0.1:0",
		Access: natsd.Access{Users: []natsd.User{{Name: user, Password: unit.NewSecret(user), Admin: true}}}}); err != nil {
		return nil, err
	}
	j.conn, err = j.nats.Connect(ctx, "soak")
	return j, err
}

// newSource starts the MySQL server alone, with a table to be moved.
func newSource(t testing.TB, g *guests) *jobs {
	j := &jobs{guests: g, db: testserver.MySQL(t), dir: t.TempDir(), kinds: runtime.Kinds{
		Sources: []cdc.Kind{mysql.Kind()}, Sinks: []sink.Kind{sinkjetstream.Kind()}, Formats: []format.Kind{formatjson.Kind()}}}
	j.db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.users (id INT PRIMARY KEY, name VARCHAR(60), note TEXT)")
	for id := 0; id < jobRows; id += 10 {
		insert := "INSERT INTO shop.users VALUES "
		for k := range 10 {
			insert += fmt.Sprintf("(%d, 'ada lovelace %d', NULL),", id+k, id+k)
		}
		j.db.Exec(t, insert[:len(insert)-1])
	}
	return j
}

func (j *jobs) close(ctx context.Context) error { return j.nats.Close(ctx) }

// user may write to pipelines' streams from outside of the server's process.
const user = "jobs"

// run runs so many jobs, and calls sample with what it sees samples times.
func (j *jobs) run(ctx context.Context, t testing.TB, jobs, samples int, sample func(probe)) (jobGrowth, error) {
	warm := jobsWarmUp(jobs)
	for n := range warm {
		if err := j.job(ctx, n); err != nil {
			return jobGrowth{}, fmt.Errorf("warming up, job %d: %w", n, err)
		}
	}
	connections := j.connections(t)
	first, err := look(0)
	if err != nil {
		return jobGrowth{}, err
	}
	sample(first)
	spent, looks := time.Duration(0), []probe{first}
	for n := 0; n < jobs; {
		stop := min(jobs, n+max(1, jobs/samples))
		begin := time.Now()
		for ; n < stop; n++ {
			if err := j.job(ctx, warm+n); err != nil {
				return jobGrowth{}, fmt.Errorf("job %d: %w", n, err)
			}
		}
		spent += time.Since(begin)
		p, err := look(n)
		if n == jobs && err == nil {
			p, err = lookBack(n, first, growth.check)
		}
		if err != nil {
			return jobGrowth{}, err
		}
		looks = append(looks, p)
		sample(p)
	}
	g := jobGrowth{Jobs: jobs, growth: grown(looks, spent)}
	g.Connections = j.connectionsBack(t, connections) - connections
	g.Millis = g.Micros / 1000
	return g, nil
}

// connections counts those at the MySQL server.
func (j *jobs) connections(t testing.TB) int {
	n, err := strconv.Atoi(j.db.Value(t, "SELECT COUNT(*) FROM performance_schema.processlist WHERE user <> 'event_scheduler'"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// connectionsBack is connections, once there are no more than before or patience
// is at its end.
func (j *jobs) connectionsBack(t testing.TB, before int) (n int) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if n = j.connections(t); n <= before || time.Now().After(end) {
			return n
		}
	}
}

// job runs one whole pipeline in a daemon of its own, and deletes what it leaves.
func (j *jobs) job(ctx context.Context, n int) error {
	dir := filepath.Join(j.dir, "job")
	stream := fmt.Sprintf("JOB%d", n%jobStreams)
	c, err := j.config(dir, stream)
	if err != nil {
		return err
	}
	d, err := runtime.New(runtime.Options{Config: c, Kinds: j.kinds, Version: "soak", Until: pipeline.CaughtUp,
		Compile: wasm.CompileApart, CacheDir: filepath.Join(j.dir, "wasm"),
		Module: func(config.Module) ([]byte, error) { return j.guests.module(n % jobDigests) }})
	if err != nil {
		return err
	}
	if err := d.Run(ctx); err != nil {
		return err
	}
	return errors.Join(j.verify(ctx, stream), os.RemoveAll(dir))
}

func (j *jobs) config(dir, stream string) (*config.Config, error) {
	dsn := url.URL{Scheme: "mysql", User: url.User("root"), Host: j.db.Addr()}
	text := fmt.Sprintf(`version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.users]}}
    steps: [{wasm: upper, with: {column: name}}]
    sink: {jetstream: {stream: %s, max_age: 1d}}
state: {dir: %q}
nats: {url: %q, user: %s, password: %s}
`, dsn.String(), stream, dir, j.nats.ClientURL(), user, user)
	o := config.Options{Connectors: []string{"upper"},
		Sources: []config.Kind{{Name: j.kinds.Sources[0].Name, NewConfig: j.kinds.Sources[0].NewConfig}},
		Sinks:   []config.Kind{{Name: j.kinds.Sinks[0].Name, NewConfig: j.kinds.Sinks[0].NewConfig}}}
	return config.Parse(filepath.Join(j.dir, "cdcd.yaml"), []byte(text), o)
}

// verify wants every row in the job's stream, in upper case, and deletes it.
func (j *jobs) verify(ctx context.Context, stream string) error {
	js, err := jetstream.New(j.conn)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("cdc.shop.shop.users"))
	if err != nil {
		return err
	}
	if got := info.State.Subjects["cdc.shop.shop.users"]; got != jobRows {
		return fmt.Errorf("%d of %d rows are in the stream", got, jobRows)
	}
	last, err := s.GetLastMsgForSubject(ctx, "cdc.shop.shop.users")
	if err != nil {
		return err
	}
	var row struct{ After struct{ Name string } }
	want := fmt.Sprintf("ADA LOVELACE %d", jobRows-1)
	if err := json.Unmarshal(last.Data, &row); err != nil || row.After.Name != want {
		return fmt.Errorf("the last row's name is %q, not %q (%v)", row.After.Name, want, err)
	}
	return js.DeleteStream(ctx, stream)
}
