package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/pipeline"
	"github.com/cdcd-io/cdcd/runtime/wasm"
)

const noConnectors = "the shipped connectors in this binary: make connectors"

// needConnectors skips loudly where the shipped connectors are not built, and
// fails where they must be.
func needConnectors(t *testing.T) {
	t.Helper()
	if len(catalog.Names()) >= 2 {
		return
	}
	skip.For(t, "%s", noConnectors)
}

// program returns cdcd as a command: this test binary, which testscript lets
// behave as cdcd under that name.
func program(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "cdcd")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "XDG_CACHE_HOME="+filepath.Join(os.TempDir(), "cdcd-test-cache"))
	return cmd
}

// The demo ends by itself, loses nothing, gives everything back and leaves
// nothing behind.
func TestDemo(t *testing.T) {
	needConnectors(t)
	dir := t.TempDir()
	cmd := program(t, dir, "demo", "--for", "1s", "--json")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("cdcd demo: %v\n%s", err, text)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	var r demoResult
	if err := json.Unmarshal(lines[len(lines)-1], &r); err != nil {
		t.Fatalf("the last line is not a summary: %v\n%s", err, lines[len(lines)-1])
	}
	var rows int
	for _, f := range demoFlavors() {
		rows += f.Rows
	}
	if r.In != uint64(rows) || r.Dropped == 0 || r.Out != r.In-r.Dropped || r.ReadBack != r.Out {
		t.Errorf("in %d, out %d, dropped %d, read back %d; want all %d rows, some dropped, the rest out and read back",
			r.In, r.Out, r.Dropped, r.ReadBack, rows)
	}
	if r.GuestPeak == 0 || r.GuestAfter != 0 {
		t.Errorf("connector memory: peak %d, after unload %d; want some, then none", r.GuestPeak, r.GuestAfter)
	}
	if r.Code.Measured && (r.Code.CodeBytesUnmapped == 0 || r.Code.CodeBytesLeft != 0) {
		t.Errorf("machine code: %v", r.Code)
	}
	if r.FirstRecordMS <= 0 || r.ElapsedMS < r.FirstRecordMS {
		t.Errorf("first record after %v ms of %v", r.FirstRecordMS, r.ElapsedMS)
	}
	for _, p := range r.Pipelines {
		var receipts []struct{ Receipt wasm.Receipt }
		text, _ := json.Marshal(p.Receipts)
		if err := json.Unmarshal(text, &receipts); err != nil || len(receipts) != 2 {
			t.Fatalf("%s: %v, want two receipts: %s", p.Pipeline, err, text)
		}
		for _, w := range receipts {
			if !w.Receipt.Clean() || w.Receipt.MemoryBytesUnmapped == 0 {
				t.Errorf("%s: the receipt is not clean: %+v", p.Pipeline, w.Receipt)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("the demo left %v", left)
	}
}

// What is read back of a stream is all of it, also from a broker that is slow to answer.
func TestReadBackIsWhole(t *testing.T) {
	ns := testserver.NATS(t)
	way := testserver.NewProxy(t, ns.Addr())
	nc, err := nats.Connect("nats://" + way.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"cdc.>"}}); err != nil {
		t.Fatal(err)
	}
	const rows = 20
	for i := range rows + 2 {
		subject := "cdc.shop.shop.orders"
		if i%10 == 7 {
			subject = "cdc.shop._cdcd"
		}
		if _, err := js.PublishAsync(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	way.Latency(600 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), readTimeout)
	defer cancel()
	got := 0
	if n, err := readStream(ctx, nc, "SHOP", "cdc.shop.*.*", func(jetstream.Msg) { got++ }); err != nil || n != rows || got != rows {
		t.Errorf("%d messages, handed on %d, want %d: %v", n, got, rows, err)
	}
}

// A second signal doesn't wait for a broker that no longer answers.
func TestSecondSignal(t *testing.T) {
	ns := testserver.NATS(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files()); err != nil {
		t.Fatal(err)
	}
	config := `{version: 1, pipelines: {shop: {
		source: {binlog_files: {files: [mysql/binlog.000001], tables: ["shop.*"], rate_limit: {rows_per_second: 100}}},
		sink: {jetstream: {stream: SHOP}}}}, nats: {url: "` + ns.URL() + `"}}`
	if err := os.WriteFile(filepath.Join(dir, "cdcd.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, dir, "run", "cdcd.yaml", "--json")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer guard.Stop()
	var text strings.Builder
	var second time.Time
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		switch {
		case strings.Contains(lines.Text(), `"what":"pipeline shop"`): // it streams; rows come for seconds
			ns.Pause()
			err = cmd.Process.Signal(syscall.SIGTERM)
		case strings.Contains(lines.Text(), `"event":"stopping"`):
			second = time.Now()
			err = cmd.Process.Signal(syscall.SIGTERM)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	ns.Resume()
	if took := time.Since(second); second.IsZero() || took > pipeline.DrainDefault/2 {
		t.Errorf("ended %v after the second signal\n%s", took, text.String())
	}
	if got, want := cmd.ProcessState.ExitCode(), 128+int(syscall.SIGTERM); got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
	if !strings.Contains(text.String(), `{"error":{"code":"interrupted"`) {
		t.Errorf("not said: interrupted\n%s", text.String())
	}
}

// A first signal ends a run in order, with the signal's exit code.
func TestSignals(t *testing.T) {
	delivering := regexp.MustCompile(`"event":"status".*"state":"streaming".*"rows_out":[1-9]`)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			needConnectors(t)
			cmd := program(t, t.TempDir(), "demo", "--for", "1m", "--json")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer guard.Stop()
			var last string
			sent := false
			for lines := bufio.NewScanner(out); lines.Scan(); {
				last = lines.Text()
				if !sent && delivering.MatchString(last) {
					sent = true
					if err := cmd.Process.Signal(sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = cmd.Wait()
			if got, want := cmd.ProcessState.ExitCode(), 128+int(sig); got != want {
				t.Errorf("exit code %d, want %d", got, want)
			}
			var r demoResult
			if err := json.Unmarshal([]byte(last), &r); err != nil || r.Out == 0 || r.Out != r.ReadBack {
				t.Errorf("after the signal: %v, out %d, read back %d; want a summary in which they agree\n%s", err, r.Out, r.ReadBack, last)
			}
		})
	}
}
