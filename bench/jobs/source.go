package jobs

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

// Source is a private MySQL whose binlog holds the rows to move.
type Source struct {
	DB       *testserver.DB
	Rows     int    // to move; Fill rounds it up
	from, to string // file:position
	filled   bool
}

// NewSource starts a MySQL with empty tables.
func NewSource(h *host.Host, rows int) *Source {
	s := &Source{DB: testserver.MySQL(h, testserver.Args("--innodb-buffer-pool-size=512M", "--innodb-redo-log-capacity=512M")), Rows: rows}
	if err := load.Create(s.DB); err != nil {
		h.Fatal(err)
	}
	return s
}

// Fill writes the rows, once. What must begin before them has begun by then.
func (s *Source) Fill(h *host.Host) {
	if s.filled {
		return
	}
	s.filled = true
	s.DB.Exec(h, "FLUSH BINARY LOGS")
	s.from = s.position(h)
	begin := time.Now()
	var err error
	if s.Rows, err = load.Fill(s.DB, s.Rows); err != nil {
		h.Fatal(err)
	}
	s.to = s.position(h)
	s.settle(h)
	fmt.Printf("loaded %d row changes in %.1f s, binlog %s to %s\n", s.Rows, time.Since(begin).Seconds(), s.from, s.to)
}

// settle waits until the server has written what the load left in its buffer
// pool: the first contestant would pay for it.
func (s *Source) settle(h *host.Host) {
	s.DB.Exec(h, "SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0", "SET GLOBAL innodb_max_dirty_pages_pct = 0")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if s.DB.Query(h, "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")[0][1] == "0" {
			return
		}
	}
	h.Fatal("MySQL has pages to write a minute after the load")
}

func (s *Source) position(h *host.Host) string {
	row := s.DB.Query(h, "SHOW BINARY LOG STATUS")[0]
	return row[0] + ":" + row[1]
}

// Logs reads the binlog files that hold the rows.
func (s *Source) Logs(h *host.Host) [][]byte { return s.files(h, s.from, s.to) }

// Mixed writes rows of many types, and reads the binlog files that hold them.
func (s *Source) Mixed(h *host.Host, rows int) (files [][]byte, written int) {
	s.DB.Exec(h, "FLUSH BINARY LOGS")
	from := s.position(h)
	written, err := load.FillMixed(s.DB, rows)
	if err != nil {
		h.Fatal(err)
	}
	return s.files(h, from, s.position(h)), written
}

// files reads the binlog files between two positions.
func (s *Source) files(h *host.Host, from, to string) [][]byte {
	first, _, _ := strings.Cut(from, ":")
	last, _, _ := strings.Cut(to, ":")
	names, err := filepath.Glob(filepath.Join(s.DB.BinlogDir(), "binlog.[0-9]*"))
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
