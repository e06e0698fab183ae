package snapshot

import (
	"testing"
	"time"
)

func TestSizer(t *testing.T) {
	all := Limits{Rows: 16 << 10, Bytes: 1 << 20}
	s := newSizer()
	if got := s.next(all); got.Rows != chunkRows || got.Bytes != all.Bytes {
		t.Fatalf("first: %+v", got)
	}
	s.observe(chunkRows, chunkRows, time.Millisecond)
	if got := s.next(all).Rows; got != growMax*chunkRows {
		t.Errorf("after a quick one: %d", got)
	}
	s.observe(chunkRows, growMax*chunkRows, time.Millisecond)
	if got := s.next(all).Rows; got != growMax*chunkRows {
		t.Errorf("after one that came to the end: %d", got)
	}
	s.observe(growMax*chunkRows, growMax*chunkRows, chunkTime)
	if got := s.next(all).Rows; got != growMax*chunkRows {
		t.Errorf("after one that took as long as it should: %d", got)
	}
	s.observe(4000, 4000, 3*chunkTime)
	if got := s.next(all).Rows; got != growMax/2*chunkRows {
		t.Errorf("after a slow one: %d", got)
	}
	for range 30 {
		s.less()
	}
	if got := s.next(all).Rows; got != rowsLeast {
		t.Errorf("after many that failed: %d", got)
	}
	for range 30 {
		n := s.next(all).Rows
		s.observe(n, n, time.Millisecond)
	}
	if got := s.next(all); got != all {
		t.Errorf("as much as may be: %+v", got)
	}
}
