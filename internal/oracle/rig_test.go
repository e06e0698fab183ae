package oracle

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

const (
	pipelineName = "shop"
	streamName   = "SHOP"
	dataSubjects = "cdc." + pipelineName + "." + DB + ".*"
	ctlSubject   = "cdc." + pipelineName + "._cdcd"
)

// setup is what a rig is made of.
type setup struct {
	db        *testserver.DB
	brokers   []*testserver.NATSServer // one, or a cluster; none: the one embedded in cdcd
	steps     string                   // YAML, indented by six; empty for none
	masked    map[string]func(string) string
	owners    int               // daemons; 0 for one
	toDB      *testserver.Proxy // nil: directly
	toBroker  *testserver.Proxy
	stateDir  string // of the first daemon; empty for one of the test's
	copies    string // folder of the copies of the state
	stateKeys string // more YAML for the state
	fsync     bool   // durability of the embedded broker
	sinkKeys  string // more keys of the sink: ", atomic: true"
	shared    bool   // the stream is others' as well, and sinkKeys say so
	source    string // more YAML for the source, indented by eight
	requests  bool   // people ask for copies of tables
	maxBytes  string // of the stream; empty for no limit but the disk
	clocks    bool   // daemons' clocks can be set
	refused   bool   // there is a table too of which a step refuses each row
	load      Options
}

// one is a broker that is no cluster.
func one(t *testing.T) []*testserver.NATSServer {
	t.Helper()
	return []*testserver.NATSServer{testserver.NATS(t)}
}

func onMySQL(with func(*testing.T, *testserver.DB) setup) func(*testing.T) setup {
	return func(t *testing.T) setup { return with(t, testserver.MySQL(t)) }
}

func onMariaDB(with func(*testing.T, *testserver.DB) setup) func(*testing.T) setup {
	return func(t *testing.T) setup { return with(t, testserver.MariaDB(t)) }
}

// rig is a pipeline in the real binary, between a real database and real
// brokers, and a person who does harm to it.
type rig struct {
	setup
	t       *testing.T
	name    string
	seed    uint64
	dice    *rand.Rand
	binary  string
	dir     string
	url     string // for the checker: past all proxies
	daemons []*daemon
	work    *Workload
	// outages says that servers are harmed as well: cdcd then ends with exit
	// code 3 when one is down while it starts, and a supervisor starts it again.
	outages bool
	// observe sees each message that is judged; verdict says what it found.
	observe  func(Message)
	numbered *numbers // what the connector's numbers are, where they are judged
	firsts   *Firsts  // of a shared stream, while it is judged
	checker  *Checker
	verdict  func(*Report)

	faults, kills int
	marks         []*mark
	notes         []string

	once sync.Once
	conn *nats.Conn
}

func newRig(t *testing.T, binary, name string, seed uint64, s setup) *rig {
	t.Helper()
	r := &rig{t: t, name: name, seed: seed, dice: rand.New(rand.NewPCG(seed, 1)), setup: s, binary: binary, dir: t.TempDir()}
	s.db.CreateUser(t, "cdcd", "secret")
	embedded := ""
	if len(s.brokers) == 0 {
		embedded = fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
		r.url = "nats://" + embedded
	} else {
		var urls []string
		for _, b := range s.brokers {
			urls = append(urls, b.URL())
		}
		r.url = strings.Join(urls, ",")
	}
	for i := range max(1, s.owners) {
		r.daemons = append(r.daemons, r.newDaemon(i, embedded))
	}
	t.Cleanup(func() {
		for _, d := range r.daemons {
			d.kill()
			d.output.Close()
			if t.Failed() {
				t.Logf("end of the output of %s:\n%s", filepath.Base(d.config), d.tail())
			}
		}
		if r.conn != nil {
			r.conn.Close()
		}
	})
	return r
}

// newDaemon writes the configuration of one of the daemons.
func (r *rig) newDaemon(i int, embedded string) *daemon {
	t := r.t
	t.Helper()
	dsn, nats, steps := r.db.UserDSN("cdcd", "secret"), fmt.Sprintf("{url: %q}", r.url), ""
	if embedded != "" {
		nats = fmt.Sprintf("{embedded: {listen: %q}}", embedded)
		if r.fsync {
			nats = fmt.Sprintf("{embedded: {listen: %q, durability: fsync}}", embedded)
		}
	}
	if r.toDB != nil {
		dsn = strings.Replace(dsn, r.db.Addr(), r.toDB.Addr(), 1)
	}
	if r.toBroker != nil {
		nats = fmt.Sprintf("{url: %q}", "nats://"+r.toBroker.Addr())
	}
	if r.steps != "" {
		steps = "    steps:\n" + strings.TrimRight(r.steps, "\n") + "\n"
	}
	followed := Tables()
	if r.refused {
		followed = append(followed, refusedTable)
	}
	d := &daemon{r: r, state: filepath.Join(r.dir, fmt.Sprintf("state%d", i)), clocks: r.clocks,
		config: filepath.Join(r.dir, fmt.Sprintf("cdcd%d.yaml", i)), admin: fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))}
	if i == 0 && r.stateDir != "" {
		d.state = r.stateDir
	}
	limit := ""
	if r.maxBytes != "" {
		limit = ", max_bytes: " + r.maxBytes
	}
	text := fmt.Sprintf(`version: 1
pipelines:
  %s:
    source:
      mysql:
        dsn: %q
        tables: [%s]
        snapshot: never
%s%s    sink:
      jetstream: {stream: %s, format: json, max_age: 1d, replicas: %d%s}
server: {listen: %q}
state: {dir: %q%s}
nats: %s
`, pipelineName, dsn, strings.Join(followed, ", "), r.source, steps, streamName, max(1, len(r.brokers)), limit+r.sinkKeys, d.admin, d.state, r.stateKeys, nats)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.output, err = os.Create(filepath.Join(r.dir, fmt.Sprintf("output%d", i))); err != nil {
		t.Fatal(err)
	}
	return d
}

// broker is the one, where there is one.
func (r *rig) broker() *testserver.NATSServer { return r.brokers[0] }

// js is for looking at the stream, past all proxies. The connection lasts.
func (r *rig) js() jetstream.JetStream {
	r.once.Do(func() {
		var err error
		r.conn, err = nats.Connect(r.url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.RetryOnFailedConnect(true),
			nats.PingInterval(time.Second))
		if err != nil {
			r.t.Fatal(err)
		}
	})
	js, err := jetstream.New(r.conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return js
}

// awaitStream waits until the pipeline has claimed its stream: from then on it
// must miss nothing.
func (r *rig) awaitStream() {
	r.t.Helper()
	if r.shared { // there is no marker: the state says where it began
		r.waitFor("the pipeline", func() bool { return r.daemons[0].status().State == "streaming" })
		return
	}
	r.waitFor("the stream", func() bool {
		_, err := r.last(ctlSubject)
		return err == nil
	})
}

// last returns the last message on subjects, as the stream's leader has it.
func (r *rig) last(subjects string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := contextFor(r.t, 500*time.Millisecond)
	defer cancel()
	s, err := r.js().Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	return s.GetLastMsgForSubject(ctx, subjects)
}

// waitFor waits for two minutes; then the rig is stuck, and keeps what it has.
func (r *rig) waitFor(what string, done func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !done() {
		ended := slices.ContainsFunc(r.daemons, (*daemon).gaveUp)
		if ended || time.Now().After(deadline) {
			for i, d := range r.daemons {
				r.t.Logf("daemon %d says: %+v", i, d.status())
			}
			r.keep()
			r.t.Fatalf("seed %d: waited two minutes for %s, or cdcd gave up: %t", r.seed, what, ended)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// read hands f the whole stream.
func (r *rig) read(f func(Message)) error {
	if len(r.brokers) == 0 {
		r.daemons[0].start()
		defer r.daemons[0].kill()
	}
	if !r.shared {
		r.awaitStream()
	}
	r.js()
	ctx, cancel := contextFor(r.t, 10*time.Minute)
	defer cancel()
	_, err := Read(ctx, r.conn, streamName, f)
	return err
}

// keep copies what a person needs who looks for what went wrong: all that cdcd
// and the brokers wrote, and the database's log.
func (r *rig) keep() {
	dir, err := os.MkdirTemp("", "cdcd-torture-")
	if err != nil {
		r.t.Error(err)
		return
	}
	copyDir := func(name, from string) {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(from)); err != nil {
			r.t.Logf("keeping %s: %v", name, err) // what runs on may change meanwhile
		}
	}
	copyDir("cdcd", r.dir)
	if r.stateDir != "" {
		copyDir("state", r.stateDir)
	}
	for i, b := range r.brokers {
		copyDir(fmt.Sprintf("broker%d", i), b.StoreDir())
	}
	logs, _ := filepath.Glob(filepath.Join(r.db.BinlogDir(), "binlog.*")) // the pattern is good
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o600)
		}
		if err != nil {
			r.t.Logf("keeping %s: %v", path, err)
		}
	}
	r.t.Logf("%s, seed %d: kept in %s: cdcd (configuration, output, state), broker* (the stream), binlog.*; "+
		"a finding names the stream's sequence and Cdc-Pos, which names the place in the binlog; the same seed again: CDCD_TORTURE_SEED=%d",
		r.name, r.seed, dir, r.seed)
}
