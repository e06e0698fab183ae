package state

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// TestGaps: a gap is recorded once, survives a restart, and is never dropped.
func TestGaps(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	p := pipelineT(t, s, "p")
	for _, kv := range [][2]string{{"b", "first"}, {"a", "second"}, {"b", "again"}} {
		if err := p.Gaps().Put(kv[0], []byte(kv[1])); err != nil {
			t.Fatal(err)
		}
	}
	texts := func(p *Pipeline) (list []string) {
		for _, r := range p.Gaps().List() {
			list = append(list, string(r))
		}
		return list
	}
	if d := cmp.Diff([]string{"first", "second"}, texts(p)); d != "" {
		t.Error(d)
	}
	if got := texts(pipelineT(t, s, "other")); got != nil {
		t.Errorf("another pipeline has %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p = pipelineT(t, openT(t, dir, Options{}), "p")
	if d := cmp.Diff([]string{"second", "first"}, texts(p)); d != "" {
		t.Error(d)
	}
	for i := len(p.Gaps().List()); i < GapsMax; i++ {
		p.gaps = append(p.gaps, []byte(strconv.Itoa(i))) // faster than to write them
	}
	if err := p.Gaps().Put("b", []byte("known")); err != nil {
		t.Errorf("a gap that is on record: %v", err)
	}
	if err := p.Gaps().Put("new", []byte("x")); !fault.HasCode(err, CodeGapsFull) || fault.Of(err).Hint == "" {
		t.Errorf("gaps_full was due: %v", err)
	}
}
