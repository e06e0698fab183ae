package main

import (
	"testing"

	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/state"
)

// While a daemon has the state, doctor looks at everything else.
func TestDoctorBesideADaemon(t *testing.T) {
	c := &config.Config{Pipelines: []config.Pipeline{{Name: "shop"}}}
	c.State.Dir = t.TempDir()
	daemon, err := state.Open(c.State.Dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := daemon.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(state.Checkpoint{LogPos: "binlog.1:99"}); err != nil {
		t.Fatal(err)
	}
	if come := comeSoFar(c); len(come) != 0 {
		t.Errorf("beside a daemon: %v", come)
	}
	if err := daemon.Close(); err != nil {
		t.Fatal(err)
	}
	if come := comeSoFar(c); come["shop"].LogPos != "binlog.1:99" {
		t.Errorf("after the daemon: %v", come)
	}
}
