package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/oracle"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// worked lets the workload commit so many transactions, however long that takes.
func worked(t *testing.T, w *oracle.Workload, transactions int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	end := w.Stats().Transactions + transactions
	go func() { done <- w.Run(ctx) }()
	for w.Stats().Transactions < end && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// What a connector kept is lost, and there is no copy: the pipeline halts and says
// so, and does what its hint says. What the stream has stays, and what comes is
// behind it.
func TestForget(t *testing.T) {
	if testing.Short() {
		t.Skip("starts MySQL and nats-server")
	}
	needConnectors(t)
	db := testserver.MySQL(t)
	db.CreateUser(t, "cdcd", "secret")
	k := newKeeper(t, db, testserver.NATS(t))
	k.refuse(refuseNone)
	w := oracle.NewWorkload(db, oracle.Options{Seed: 17})
	if err := w.Create(); err != nil {
		t.Fatal(err)
	}
	worked(t, w, 150)
	k.catchUp(time.Minute)
	before := k.made().messages
	if err := os.RemoveAll(filepath.Join(k.dir, "state")); err != nil {
		t.Fatal(err)
	}
	worked(t, w, 150)
	text, err := program(t, k.dir, "run", k.config, "--until", "caught-up").CombinedOutput()
	if err == nil || !strings.Contains(string(text), "[kv_missing]") || !strings.Contains(string(text), "cdcd checkpoint forget") {
		t.Fatalf("%v\n%s", err, text)
	}
	forget := func() string {
		t.Helper()
		text, err := program(t, k.dir, "checkpoint", "forget", k.config).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return string(text)
	}
	if text := forget(); !strings.Contains(text, "0 values forgotten") {
		t.Error(text)
	}
	k.catchUp(time.Minute)
	after := k.made().messages
	if len(after) <= len(before) {
		t.Fatalf("%d messages, %d before", len(after), len(before))
	}
	same(t, "message of before", after[:len(before)], before)
	if text := forget(); strings.Contains(text, " 0 values") || !strings.Contains(text, "values forgotten") {
		t.Error(text)
	}
	if backups, _ := filepath.Glob(filepath.Join(k.dir, "state*", "*.tar")); len(backups) == 0 {
		t.Error("no backup of what is forgotten")
	}
	k.catchUp(time.Minute)
}

// Dead letters stay when what connectors kept is forgotten, and are replayed behind
// that, each once: those of a key that changed since only where it is forced. The
// connector counts anew, by what it is given from there on, whatever is killed.
func TestForgetAndReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts MySQL and nats-server")
	}
	needConnectors(t)
	db := testserver.MySQL(t)
	db.CreateUser(t, "cdcd", "secret")
	k := newKeeper(t, db, testserver.NATS(t)) // refuses some
	w := oracle.NewWorkload(db, oracle.Options{Seed: 18})
	if err := w.Create(); err != nil {
		t.Fatal(err)
	}
	worked(t, w, 300)
	k.catchUp(time.Minute)
	dead := k.deadLetters()
	text, err := program(t, k.dir, "checkpoint", "forget", k.config).CombinedOutput()
	if err != nil || strings.Contains(string(text), " 0 values") {
		t.Fatalf("%v\n%s", err, text)
	}
	same(t, "dead letter", k.deadLetters(), dead)
	k.refuse(refuseNone)
	k.start()
	k.eventually("the daemon", func() error { _, err := k.replay("--all", "--dry-run"); return err })
	before := k.came()
	first, err := k.replay("--all")
	if err != nil || first.Replayed == 0 || first.Stale == 0 || first.Replayed+first.Stale != len(dead) {
		t.Fatalf("%+v of %d: %v", first, len(dead), err)
	}
	rising(t, k.came())
	k.kill() // behind the answer: it is not replayed again
	k.start()
	k.eventually("the daemon", func() error { _, err := k.replay("--all", "--dry-run"); return err })
	if again, err := k.replay("--all"); err != nil || again.Replayed != 0 || again.Stale != first.Stale {
		t.Errorf("again: %+v %v", again, err)
	}
	if forced, err := k.replay("--all", "--force"); err != nil || forced.Replayed != first.Stale {
		t.Errorf("forced: %+v %v", forced, err)
	}
	if left := k.deadLetters(); len(left) > 0 {
		t.Errorf("%d dead letters are left, the first %s", len(left), left[0])
	}
	k.kill()
	worked(t, w, 300)
	k.catchUp(time.Minute)
	k.start()
	got := k.came()
	k.kill()
	for i := range before {
		if got[i] != before[i] {
			t.Fatalf("message %d is %+v and was %+v", i, got[i], before[i])
		}
	}
	numbered(t, got[len(before):]) // from 1 on
	replayed, seen := 0, map[string]bool{}
	for _, c := range got {
		if seen[c.what] {
			t.Errorf("twice: %.300s", c.what)
		}
		seen[c.what] = true
		if c.original {
			replayed++
		}
	}
	if replayed != len(dead) {
		t.Errorf("%d rows were replayed, of %d dead letters", replayed, len(dead))
	}
}
