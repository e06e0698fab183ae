package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cdcd-io/cdcd/examples/demo"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// twice starts two processes of one configuration in the same instant, each in a
// directory of its own, and returns what they print in the end and how they ended.
func twice(t *testing.T, config string, args ...string) (output [2]string, ended [2]error) {
	t.Helper()
	var both [2]*exec.Cmd
	var text [2]bytes.Buffer
	for i := range both {
		dir := t.TempDir()
		if err := os.CopyFS(dir, demo.Files()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cdcd.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		both[i] = program(t, dir, append([]string{"run", "cdcd.yaml"}, args...)...)
		both[i].Stdout, both[i].Stderr = &text[i], &text[i]
	}
	var wg sync.WaitGroup
	for i, cmd := range both {
		wg.Go(func() { ended[i] = cmd.Run() })
	}
	wg.Wait()
	return [2]string{text[0].String(), text[1].String()}, ended
}

// recorded is a pipeline from the demo's recording into the embedded broker.
const recorded = `{version: 1, pipelines: {shop: {
	source: {binlog_files: {files: [mysql/binlog.000001], tables: ["shop.*"]}},
	sink: {jetstream: {stream: SHOP}}}}, nats: %s}`

// Two daemons on one machine that name no address both run, whoever finds the
// default address free first.
func TestTwoAtOnce(t *testing.T) {
	for range 3 {
		output, ended := twice(t, fmt.Sprintf(recorded, "{embedded: {}}"), "--until", "eof")
		for i, err := range ended {
			if err != nil {
				t.Errorf("%v\n%s", err, output[i])
			}
		}
	}
}

// Of two that name the same address, one runs, and the other after it; or the other
// says who has the address and what to do.
func TestTwoAtOneAddress(t *testing.T) {
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	output, ended := twice(t, fmt.Sprintf(recorded, fmt.Sprintf("{embedded: {listen: %q}}", addr)), "--until", "eof")
	if ended[0] != nil && ended[1] != nil {
		t.Errorf("neither runs\n%s\n%s", output[0], output[1])
	}
	for i, err := range ended {
		if err == nil {
			continue
		}
		for _, says := range []string{natsd.CodeStart, addr, "another cdcd", "nats.embedded.listen"} {
			if !strings.Contains(output[i], says) {
				t.Errorf("%q is not said: %v\n%s", says, err, output[i])
			}
		}
	}
}
