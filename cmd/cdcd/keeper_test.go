package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/oracle"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// keeper keeps a pipeline running, in processes that are killed.
type keeper struct {
	t           *testing.T
	db          *testserver.DB
	broker      *testserver.NATSServer // nil: embedded, or none
	dir, config string
	url         string // of the broker
	connection  string // the same in the configuration
	listen      string
	child       *exec.Cmd // writes to dir/output
}

func (k *keeper) write(name string, text []byte) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), text, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeper) start() {
	k.t.Helper()
	k.child = program(k.t, k.dir, "run", k.config)
	output, err := os.OpenFile(filepath.Join(k.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	defer output.Close()
	k.child.Stderr = output
	k.child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := k.child.Start(); err != nil {
		k.t.Fatal(err)
	}
}

// kill is SIGKILL. A pipeline that has ended before, by itself, fails the test,
// but for a start without its servers.
func (k *keeper) kill() {
	if k.child == nil {
		return
	}
	_ = k.child.Process.Kill() // gone already: told below
	err := k.child.Wait()
	k.child = nil
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || !exit.Sys().(syscall.WaitStatus).Signaled() && (k.broker == nil || exit.ExitCode() != 3) {
		text, _ := os.ReadFile(filepath.Join(k.dir, "output"))
		k.t.Errorf("cdcd ended by itself: %v\n%s", err, text[max(0, len(text)-2000):])
	}
}

func (k *keeper) catchUp(timeout time.Duration) {
	k.t.Helper()
	cmd := program(k.t, k.dir, "run", k.config, "--until", "caught-up")
	timer := time.AfterFunc(timeout, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	if text, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("%v\n%.4000s", err, text[max(0, len(text)-4000):])
	}
}

func (k *keeper) eventually(what string, f func() error) {
	k.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	k.t.Fatalf("%s: %v", what, err)
}

// awaitStreaming waits until the pipeline streams, if it does in time.
func (k *keeper) awaitStreaming(most time.Duration) {
	for deadline := time.Now().Add(most); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + k.listen + "/v1/pipelines/shop")
		if err != nil {
			continue
		}
		var s struct{ State string }
		err = json.NewDecoder(resp.Body).Decode(&s)
		_ = resp.Body.Close()
		if err == nil && s.State == "streaming" {
			return
		}
	}
}

// outage kills the broker or the database under the running pipeline.
func (k *keeper) outage(dice *rand.Rand) {
	server := k.db.Process
	if dice.IntN(2) == 0 {
		server = k.broker.Process
	}
	server.Kill()
	time.Sleep(time.Duration(dice.IntN(1000)) * time.Millisecond)
	server.Restart(k.t)
	time.Sleep(time.Duration(dice.IntN(2000)) * time.Millisecond)
}

// underLoad kills the pipeline, and its servers too where they are processes of their
// own, while the database changes. change is for while the pipeline is down.
func (k *keeper) underLoad(w *oracle.Workload, kills int, dice *rand.Rand, change func()) {
	k.t.Helper()
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	k.start()
	for n := range kills {
		if n%4 != 0 { // otherwise a slow machine would only ever start it
			k.awaitStreaming(10 * time.Second)
		}
		time.Sleep(time.Duration(20+dice.IntN(1500)) * time.Millisecond)
		if k.broker != nil && n%3 == 1 {
			k.outage(dice)
		}
		k.kill()
		if change != nil {
			change()
		}
		k.start()
	}
	time.Sleep(time.Second) // of changes behind the last kill
	cancel()
	if err := <-done; err != nil {
		k.t.Fatal(err)
	}
	k.kill()
}

// killsWanted returns how many kills are asked for, or else that many.
func killsWanted(t *testing.T, kills int) int {
	t.Helper()
	if text := os.Getenv("CDCD_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return kills
}

// whateverIsKilled runs a test of a pipeline with dead letters with either database at
// the same time: one in which only cdcd is killed and has the broker inside, and one
// in which broker and database are killed as well.
func whateverIsKilled(t *testing.T, seed uint64, test func(t *testing.T, k *keeper, w *oracle.Workload, kills int, dice *rand.Rand)) {
	if testing.Short() {
		t.Skip("starts servers and kills them for minutes")
	}
	needConnectors(t)
	kills := killsWanted(t, 12) // make torture-deadletters has more
	for i, c := range []struct {
		name     string
		database func(testing.TB, ...testserver.Option) *testserver.DB
		servers  bool // are killed as well; otherwise the broker is embedded
	}{
		{"mysql, embedded broker", testserver.MySQL, false},
		{"mariadb, all are killed", testserver.MariaDB, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // mostly they wait
			db := c.database(t)
			db.CreateUser(t, "cdcd", "secret")
			var broker *testserver.NATSServer
			if c.servers {
				broker = testserver.NATS(t)
			}
			k := newKeeper(t, db, broker)
			w := oracle.NewWorkload(db, oracle.Options{Seed: seed + uint64(i), LargeEvery: 300, XAEvery: 8})
			if err := w.Create(); err != nil {
				t.Fatal(err)
			}
			test(t, k, w, kills, rand.New(rand.NewPCG(uint64(i), seed)))
		})
	}
}

// same reports the first place at which two lists differ.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%d of %d are missing, the first %s: %.300s", len(want)-i, len(want), what, want[i])
		case i >= len(want):
			t.Errorf("%d are too many, the first %s: %.300s", len(got)-i, what, got[i])
		case got[i] == want[i]:
			continue
		default:
			t.Errorf("%s %d of %d (%d) is\n%.300s\nand should be\n%.300s", what, i, len(got), len(want), got[i], want[i])
		}
		return
	}
}
