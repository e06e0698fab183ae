package main

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// largeRow is the bytes of one row of the large transaction.
const largeRow = 16 << 10

// bigTxn delivers one large transaction to a broker that is stopped three
// quarters of the time, and notes the most memory that the daemon had.
func (f *figures) bigTxn(h *host.Host, s *jobs.Source, cdcd string, size int64) {
	broker := testserver.NATS(h)
	s.DB.Exec(h, "CREATE TABLE "+load.DB+".large (id BIGINT PRIMARY KEY, body MEDIUMTEXT NOT NULL) CHARACTER SET latin1")
	dir := h.TempDir()
	run := daemon(h, s, cdcd, dir, "large", "nats: {url: \""+broker.URL()+"\"}\n", "--until", "caught-up")
	if out, err := run().CombinedOutput(); err != nil { // it claims its place before there are rows
		h.Fatalf("first run: %v\n%s", err, out)
	}
	rows := int(size / largeRow)
	insertLarge(h, s, rows)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
			}
			broker.Pause()
			time.Sleep(30 * time.Millisecond)
			broker.Resume()
			time.Sleep(10 * time.Millisecond)
		}
	}()
	cmd := run()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	close(done)
	<-stopped
	if err != nil {
		h.Fatalf("large transaction: %v\n%s", err, out.String())
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	f.BigTxnRSSBytes, f.BigTxnBytes = usage.Maxrss<<10, int64(rows)*largeRow
	fmt.Printf("one transaction of %d MiB into a slow broker: %d MiB peak, %.1f s\n",
		f.BigTxnBytes>>20, f.BigTxnRSSBytes>>20, time.Since(begin).Seconds())
}

// insertLarge commits the rows in one transaction.
func insertLarge(h *host.Host, s *jobs.Source, rows int) {
	session, err := s.DB.Session()
	if err != nil {
		h.Fatal(err)
	}
	defer session.Close()
	exec := func(sql string) {
		if _, err := session.Exec(sql); err != nil {
			h.Fatal(err)
		}
	}
	exec("BEGIN")
	for id := 0; id < rows; {
		var b strings.Builder
		b.WriteString("INSERT INTO " + load.DB + ".large VALUES ")
		for n := 0; n < 64 && id < rows; n, id = n+1, id+1 {
			if n > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d,REPEAT('%016x',%d))", id, uint64(id)*0x9e3779b97f4a7c15, largeRow/16)
		}
		exec(b.String())
	}
	exec("COMMIT")
}

// daemon writes a configuration for one table, and returns what makes the
// command that runs it.
func daemon(h *host.Host, s *jobs.Source, cdcd, dir, table, settings string, args ...string) func() *exec.Cmd {
	dsn := url.URL{Scheme: "mysql", User: url.User("root"), Host: s.DB.Addr()}
	config := fmt.Sprintf(`version: 1
pipelines:
  %s:
    source:
      mysql: {dsn: %q, tables: [%s.%s], snapshot: never}
    sink:
      jetstream: {stream: %s, format: json, max_age: 1d}
server: {listen: "127.0.0.1:%d"}
state: {dir: ./state}
%s`, table, dsn.String(), load.DB, table, strings.ToUpper(table), testserver.Port(h), settings)
	path := filepath.Join(dir, "cdcd.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		h.Fatal(err)
	}
	return func() *exec.Cmd {
		cmd := exec.Command(cdcd, append([]string{"run", path}, args...)...)
		cmd.Dir = dir
		return cmd
	}
}
