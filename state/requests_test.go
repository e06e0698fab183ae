package state

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func requestsOf(t *testing.T, r *Requests) (all []string) {
	t.Helper()
	if err := r.Each(func(id uint64, record []byte) error {
		all = append(all, fmt.Sprintf("%d %s", id, record))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// Requests come back by their numbers, also from a store that was closed, and
// those of one pipeline alone.
func TestRequests(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(pipeline string, id uint64, record string, remove ...uint64) {
		t.Helper()
		p, err := s.Pipeline(pipeline)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Requests().Put(id, []byte(record), remove...); err != nil {
			t.Fatal(err)
		}
	}
	put("shop", 300, "c")
	put("shop", 2, "a")
	put("shop", 70000, "d")
	put("shop2", 1, "another's")
	put("shop", 2, "b")
	put("shop", 256, "e", 70000, 300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"2 b", "256 e"}, requestsOf(t, p.Requests())); d != "" {
		t.Error(d)
	}
}
