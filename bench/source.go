package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// source is a private MySQL whose binlog holds the rows to move.
type source struct {
	db       *testserver.DB
	rows     int
	from, to string // file:position
	filled   bool
}

func newSource(h *host.Host, rows int) *source {
	s := &source{db: testserver.MySQL(h, testserver.Args("--innodb-buffer-pool-size=512M", "--innodb-redo-log-capacity=512M")), rows: rows}
	if err := load.Create(s.db); err != nil {
		h.Fatal(err)
	}
	return s
}

// fill writes the rows, once. What must begin before them has begun by then.
func (s *source) fill(h *host.Host) {
	if s.filled {
		return
	}
	s.filled = true
	s.db.Exec(h, "FLUSH BINARY LOGS")
	s.from = s.position(h)
	begin := time.Now()
	var err error
	if s.rows, err = load.Fill(s.db, s.rows); err != nil {
		h.Fatal(err)
	}
	s.to = s.position(h)
	fmt.Printf("loaded %d row changes in %.1f s, binlog %s to %s\n", s.rows, time.Since(begin).Seconds(), s.from, s.to)
}

func (s *source) position(h *host.Host) string {
	row := s.db.Query(h, "SHOW BINARY LOG STATUS")[0]
	return row[0] + ":" + row[1]
}

// logs reads the binlog files that hold the rows.
func (s *source) logs(h *host.Host) [][]byte { return s.files(h, s.from, s.to) }

// mixed writes rows of many types, and reads the binlog files that hold them.
func (s *source) mixed(h *host.Host, rows int) (files [][]byte, written int) {
	s.db.Exec(h, "FLUSH BINARY LOGS")
	from := s.position(h)
	written, err := load.FillMixed(s.db, rows)
	if err != nil {
		h.Fatal(err)
	}
	return s.files(h, from, s.position(h)), written
}

// files reads the binlog files between two positions.
func (s *source) files(h *host.Host, from, to string) [][]byte {
	first, _, _ := strings.Cut(from, ":")
	last, _, _ := strings.Cut(to, ":")
	names, err := filepath.Glob(filepath.Join(s.db.BinlogDir(), "binlog.[0-9]*"))
	if err != nil {
		h.Fatal(err)
	}
	var files [][]byte
	for _, name := range names {
		if base := filepath.Base(name); base < first || base > last {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			h.Fatal(err)
		}
		files = append(files, data)
	}
	return files
}
