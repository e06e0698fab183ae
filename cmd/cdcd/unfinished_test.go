package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// unfinished is a configuration whose state is restored, and that broken off.
type unfinished struct {
	t           *testing.T
	dir, config string
}

// newUnfinished runs a pipeline to the end of its log: 29 dead letters are kept.
func newUnfinished(t *testing.T, more string) *unfinished {
	t.Helper()
	u := &unfinished{t: t, config: refusing(t, "")}
	u.dir = filepath.Dir(u.config)
	u.write(more)
	u.run("run", u.config, "--until", "eof")
	if text := u.run("dlq", "list", u.config); !strings.Contains(text, "29 dead letters") {
		t.Fatal(text)
	}
	return u
}

// write adds to the configuration.
func (u *unfinished) write(more string) {
	u.t.Helper()
	f, err := os.OpenFile(u.config, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(more)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *unfinished) run(args ...string) string {
	u.t.Helper()
	text, err := program(u.t, u.dir, args...).CombinedOutput()
	if err != nil {
		u.t.Fatalf("cdcd %v: %v\n%s", args, err, text)
	}
	return string(text)
}

// killed runs cdcd, kills it in the middle of its restore, and returns once it is
// gone. begun says that it is there.
func (u *unfinished) killed(begun func() bool, args ...string) {
	u.t.Helper()
	cmd := program(u.t, u.dir, args...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	data := filepath.Join(u.dir, "cdcd-data")
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			u.t.Fatalf("cdcd %v does not restore:\n%s", args, output.String())
		}
		note, _ := filepath.Glob(filepath.Join(data, "RESTORING"))
		files, _ := filepath.Glob(filepath.Join(data, "*.*"))
		if len(note) == 1 && len(files) > 0 && begun() {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		u.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		u.t.Fatalf("%v\n%s", err, output.String())
	}
}

// said runs verbs on what the kill has left: each says that a restore is unfinished
// and what ends it, and none says that there is nothing.
func (u *unfinished) said(verbs ...[]string) {
	u.t.Helper()
	verbs = append(verbs, [][]string{
		{"dlq", "list", u.config}, {"dlq", "show", u.config, "short/a:1#0"}, {"dlq", "purge", u.config, "--all"},
		{"checkpoint", "list", u.config}, {"checkpoint", "verify", u.config}, {"checkpoint", "forget", u.config},
		{"checkpoint", "export", u.config, filepath.Join(u.dir, "half.tar")},
		{"position", "show", u.config}, {"position", "set", u.config, "earliest"},
	}...)
	for _, args := range verbs {
		text, err := program(u.t, u.dir, args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(string(text), "[restore_unfinished]") ||
			!strings.Contains(string(text), "cdcd checkpoint restore") {
			u.t.Errorf("cdcd %v: %v\n%s", args, err, text)
		}
	}
}

// whole checks that the state is there as it was.
func (u *unfinished) whole() {
	u.t.Helper()
	if text := u.run("dlq", "list", u.config, "--limit", "1"); !strings.Contains(text, "1 shown of 29 dead letters") {
		u.t.Error(text)
	}
	if text := u.run("checkpoint", "verify", u.config); !strings.Contains(text, "all of it is whole") {
		u.t.Error(text)
	}
	if left, _ := filepath.Glob(filepath.Join(u.dir, "cdcd-data", "RESTORING")); len(left) > 0 {
		u.t.Error("it leaves", left)
	}
}

// A restore of an export that is killed halfway.
func TestUnfinishedRestoreOfAnExport(t *testing.T) {
	u := newUnfinished(t, "")
	export, pipe, data := filepath.Join(u.dir, "good.tar"), filepath.Join(u.dir, "pipe.tar"), filepath.Join(u.dir, "cdcd-data")
	u.run("checkpoint", "export", u.config, export)
	text, err := os.ReadFile(export)
	if err := errors.Join(err, os.RemoveAll(data), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	half, err := os.OpenFile(pipe, os.O_RDWR, 0) // it stays open: the restore waits for the rest
	if err != nil {
		t.Fatal(err)
	}
	fed := make(chan error, 1)
	go func() {
		_, err := half.Write(text[:len(text)/2])
		fed <- err
	}()
	u.killed(func() bool { return len(fed) > 0 }, "checkpoint", "restore", u.config, pipe)
	if err := errors.Join(half.Close(), <-fed); err != nil {
		t.Fatal(err)
	}
	u.said([]string{"run", u.config, "--until", "eof"})
	u.run("checkpoint", "restore", u.config, export)
	u.whole()
}

// The start of a daemon on an empty machine that is killed while it restores the copy
// of an object store: the next start goes on, as the verb does.
func TestUnfinishedRestoreOfACopy(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an object store")
	}
	server := testserver.S3(t)
	server.Bucket(t, "copies")
	to, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	var files, hold atomic.Int64 // gets of files; from which one on nothing is answered
	hold.Store(1 << 40)
	forward := httputil.NewSingleHostReverseProxy(to)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/files/") && files.Add(1) >= hold.Load() {
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	u := newUnfinished(t, fmt.Sprintf("state: {replicate: {url: %q, access_key_id: %s, secret_access_key: %s}}\n",
		fmt.Sprintf("s3://copies/cdcd?addressing=path&region=%s&endpoint=%s", testserver.S3Region, url.QueryEscape(proxy.URL)), testserver.S3Key, testserver.S3Secret))
	for _, again := range [][]string{{"run", u.config, "--until", "eof"}, {"checkpoint", "restore", u.config, "--remote"}} {
		if err := os.RemoveAll(filepath.Join(u.dir, "cdcd-data")); err != nil {
			t.Fatal(err)
		}
		files.Store(0)
		hold.Store(3)
		u.killed(func() bool { return files.Load() >= 3 }, "run", u.config, "--until", "eof")
		u.said()
		hold.Store(1 << 40)
		u.run(again...)
		u.whole()
	}
}
