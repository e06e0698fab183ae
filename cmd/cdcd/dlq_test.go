package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk/golden"
)

// refusing writes a configuration whose step refuses some rows of the demo's
// recording, and returns the file. more is added to the step.
func refusing(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files()); err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("upper.wasm", golden.Guests()[0].Module)
	write("cdcd.yaml", fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source: {binlog_files: {files: [mysql/binlog.000001, mysql/binlog.000002], tables: ["shop.*"]}}
    steps: [{wasm: ./upper.wasm, name: short, only: [shop.orders], with: {column: email, bytes_max: 30}, on_error: dead_letter%s}]
    sink: {file: {path: out.jsonl}}
server: {listen: "127.0.0.1:%d"}
`, more, testserver.Port(t)))
	return filepath.Join(dir, "cdcd.yaml")
}

// daemon runs a configuration at a fixed time until all files have ended, and
// then on until the test ends or stop is called.
func daemon(t *testing.T, file string) (stop func() error) {
	t.Helper()
	c, err := config.Load(file, configOptions())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	o := daemonOptions(c, nil, runtime.Options{Stay: true, Now: func() time.Time { return at }})
	o.Compile = wasm.CompileHere // a test binary compiles nothing for others
	o.CacheDir = filepath.Join(t.TempDir(), "wasm")
	d, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		s := d.Status()[0]
		if s.State == "ended" || s.State == "halted" {
			return stop
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not end: %+v", s)
		}
	}
}

// verb runs a verb and returns what it prints.
func verb(t *testing.T, asJSON bool, run interface {
	Run(*console, *signals) error
}) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run.Run(&console{out: &out, err: &out, json: asJSON}, &signals{drain: t.Context(), hard: t.Context()})
	return out.String(), err
}

func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if strings.HasPrefix(name, "dlq_") {
		got = batchOf.ReplaceAllString(got, "${1}N")
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("-want +got; if it is meant: go test ./cmd/cdcd -run %s -update\n%s", t.Name(), d)
	}
}

// batchOf is what a dead letter says of the batch that its row came in: where that
// began depends on what was read at a time.
var batchOf = regexp.MustCompile(`(pos\\?":|"bytes":|size {9})\d+`)

// A daemon that runs and a directory whose daemon is stopped say the same.
func TestDLQ(t *testing.T) {
	file := refusing(t, "")
	stop := daemon(t, file)
	var ids []string
	for _, running := range []bool{true, false} {
		if !running {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		text, err := verb(t, false, &dlqListCmd{Config: file, Limit: 3})
		if err == nil && strings.HasPrefix(text, "shop: 0") {
			t.Fatal("no row was refused")
		}
		if err != nil {
			t.Fatal(err)
		}
		goldenText(t, "dlq_list.golden", text)
		text, err = verb(t, true, &dlqListCmd{Config: file, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		ids = idsOf(t, text)
		goldenText(t, "dlq_list.json.golden", strings.SplitAfter(text, "\n")[0])
		var pages []string
		for after := ""; ; after = pages[len(pages)-1] {
			text, err := verb(t, true, &dlqListCmd{Config: file, Limit: 2, After: after})
			if err != nil {
				t.Fatal(err)
			}
			if text == "" {
				break
			}
			pages = append(pages, idsOf(t, text)...)
		}
		if d := cmp.Diff(ids, pages); d != "" || len(ids) < 5 {
			t.Errorf("%d dead letters; page by page: %s", len(ids), d)
		}
		for _, asJSON := range []bool{false, true} {
			text, err = verb(t, asJSON, &dlqShowCmd{Config: file, ID: ids[len(ids)-1]})
			if err != nil {
				t.Fatal(err)
			}
			goldenText(t, map[bool]string{false: "dlq_show.golden", true: "dlq_show.json.golden"}[asJSON], text)
		}
		if _, err := verb(t, false, &dlqShowCmd{Config: file, ID: "short/x#1"}); !fault.HasCode(err, "no_such_dead_letter") || fault.Of(err).Hint == "" {
			t.Error(err)
		}
		if _, err := verb(t, false, &dlqListCmd{Config: file, Limit: 1, dlqFilter: dlqFilter{Pipeline: "x"}}); !fault.HasCode(err, "no_such_pipeline") {
			t.Error(err)
		}
		dlqFilters(t, file, len(ids))

		// One by one, and those that are not there any more are missed.
		removed := ids[:2]
		text, err = verb(t, false, &dlqPurgeCmd{Config: file, IDs: removed})
		if err != nil || text != "shop: purged 2 dead letters\n" {
			t.Fatal(text, err)
		}
		if text, err = verb(t, true, &dlqPurgeCmd{Config: file, IDs: ids[1:3]}); !fault.HasCode(err, "no_such_dead_letter") || text != `{"pipeline":"shop","purged":1}`+"\n" {
			t.Fatal(text, err)
		}
		if running { // a purge by a daemon is as durable as one without: again from the start
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if text, err := verb(t, false, &dlqListCmd{Config: file, Limit: 1}); err != nil || !strings.Contains(text, fmt.Sprintf("of %d dead letters kept", len(ids)-3)) {
				t.Fatal(text, err)
			}
			again := refusing(t, "")
			file, stop = again, daemon(t, again)
		}
	}
	text, err := verb(t, false, &dlqPurgeCmd{Config: file, dlqFilter: dlqFilter{Table: "shop.ord*"}})
	if err != nil || text != fmt.Sprintf("shop: purged %d dead letters\n", len(ids)-3) {
		t.Error(text, err)
	}
	if text, err := verb(t, false, &dlqListCmd{Config: file, Limit: 1}); err != nil || text != "shop: 0 shown of 0 dead letters kept\n" {
		t.Error(text, err)
	}
}

// dlqFilters checks what each filter chooses, of all.
func dlqFilters(t *testing.T, file string, all int) {
	t.Helper()
	at := func(text string) (m moment) {
		if err := m.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct {
		filter dlqFilter
		want   bool
	}{
		{dlqFilter{Step: "short"}, true}, {dlqFilter{Step: "shor"}, false},
		{dlqFilter{Table: "shop.*"}, true}, {dlqFilter{Table: "shop.customers"}, false},
		{dlqFilter{Reason: "more than 30"}, true}, {dlqFilter{Reason: "more than 31"}, false},
		{dlqFilter{Since: at("2026-01-31T12:00:00.005Z")}, true}, {dlqFilter{Since: at("2026-01-31T12:00:00.006Z")}, false},
		{dlqFilter{Before: at("2026-01-31T12:00:00.005Z")}, false}, {dlqFilter{Before: at("2026-02-01")}, true},
		{dlqFilter{Step: "short", Table: "shop.orders", Reason: "email"}, true}, {dlqFilter{Step: "short", Table: "x.y"}, false},
	} {
		text, err := verb(t, true, &dlqListCmd{Config: file, Limit: 1000, dlqFilter: c.filter})
		if n := len(idsOf(t, text)); err != nil || n != map[bool]int{true: all}[c.want] {
			t.Errorf("%+v chooses %d of %d: %v", c.filter, n, all, err)
		}
	}
}

func idsOf(t *testing.T, lines string) (ids []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var d struct{ ID string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err, line)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// What is purged must be said, in one way.
func TestDLQPurgeWantsToBeTold(t *testing.T) {
	file := refusing(t, "")
	for _, p := range []dlqPurgeCmd{{}, {All: true, dlqFilter: dlqFilter{Step: "short"}}, {IDs: []string{"a/b#1"}, All: true}} {
		p.Config = file
		if _, err := verb(t, false, &p); !fault.HasCode(err, "usage") {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if text, err := verb(t, false, &dlqPurgeCmd{Config: file, All: true}); err != nil || text != "shop: purged 0 dead letters\n" {
		t.Error("nothing there yet:", text, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "cdcd-data")); err == nil {
		t.Error("it made a state directory")
	}
}

// halt_after: so many are kept, and the next halts the pipeline, by name.
func TestHaltAfter(t *testing.T) {
	file := refusing(t, ", halt_after: 3")
	stop := daemon(t, file)
	text, err := verb(t, true, &dlqListCmd{Config: file, Limit: 1000})
	if n := len(idsOf(t, text)); err != nil || n > 3 {
		t.Errorf("%d are kept: %v", n, err)
	}
	if err := stop(); !fault.HasCode(err, "dead_letters_many") || fault.Of(err).Path != "shop/short" {
		t.Error(err)
	}
}

// A row's content can't act on the terminal.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"plain ü 中": "plain ü 中", "\x1b[2Jx\r\n": `\x1b[2Jx\r\n`, "a\u202eb\u009b": `a\u202eb\u009b`, "\x9b2J": "\ufffd2J"} {
		if got := printable(in); got != want {
			t.Errorf("%q is printed as %q, want %q", in, got, want)
		}
	}
}
