package assemble

import (
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/sdk"
)

// Stats is what was read so far.
type Stats struct {
	Bytes, Rows, Txs uint64
	Event            time.Time // when the last event came
	Commit           time.Time // of the last transaction
	Idle             time.Time // when the server last said that it has nothing more
	Position         sdk.Position
	LogPos           string
}

// stats are Stats that may be asked for from any goroutine.
type stats struct {
	mu sync.Mutex
	s  Stats
	// Not yet in s: counted without the lock.
	bytes, txs uint64
}

func (s *stats) event(bytes int) { s.bytes += uint64(bytes) }

func (s *stats) commit(micros int64) {
	s.txs++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Commit = time.UnixMicro(micros)
	s.s.Bytes += s.bytes
	s.s.Txs += s.txs
	s.bytes, s.txs = 0, 0
}

func (s *stats) batch(rows int, b *cdc.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Rows += uint64(rows)
	s.s.Position, s.s.LogPos, s.s.Event = b.End, b.LogPos, b.Read
}

// seen notes that the server gave a sign of life.
func (s *stats) seen(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Event = now
	s.s.Bytes += s.bytes
	s.bytes = 0
}

// idle notes that the server had nothing more to send.
func (s *stats) idle(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.s.Idle = now
}

// Stats returns what was read so far; from any goroutine.
func (a *Assembler) Stats() Stats {
	a.stats.mu.Lock()
	defer a.stats.mu.Unlock()
	return a.stats.s
}
