package oracle

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// news publishes what is told of a copy of the table accounts.
func (p *publisher) news(kind, id string) {
	body := map[string]any{"op": "m", "kind": kind, "snapshot": id, "tables": []string{DB + ".accounts"}, "where": fmt.Sprintf(copyWhere, 2, 1)}
	text, _ := json.Marshal(body)
	p.add("cdc.p._cdcd", map[string]string{headerKind: kind, headerBase: "x", headerPos: "-"}, string(text))
}

// copied publishes a copy of every other row of accounts, with transactions among
// its rows.
func (p *publisher) copied(id string, busy bool) {
	t := p.tables[0]
	p.news("snapshot_begin", id)
	for n := uint64(1); n < 40; n += 2 {
		if busy && n%9 == 0 {
			p.transaction(2)
		}
		if s := p.keys[cell{0, n}]; s.alive {
			p.read(t, id, n, s.v)
		}
	}
	p.news("snapshot_end", id)
}

// read publishes a row that a copy has read.
func (p *publisher) read(t *table, id string, n, v uint64) {
	body, _ := json.Marshal(map[string]any{"before": nil, "after": p.image(t, n, v, 0), "op": "r", "source": map[string]string{"db": DB, "table": t.name}})
	p.add("cdc.p."+DB+"."+t.name, map[string]string{headerPos: fmt.Sprintf("snapshot/%s/%s.%s/0/%d#0.0/1#0", id, DB, t.name, n),
		headerTxRows: "1", headerTxLast: "1", headerSubjectLast: "1"}, string(body))
}

func checkCopies(messages []Message, database map[string][][]string) Report {
	c := NewChecker(Spec{Pipeline: "p", Requests: true})
	for _, m := range renumber(messages) {
		c.Message(m)
	}
	c.Compare(database)
	return c.Report()
}

func TestCheckerAcceptsCopies(t *testing.T) {
	p := stream()
	p.copied("k1", false)
	p.transaction(3)
	p.copied("k2", true)
	p.news("snapshot_begin", "k3")
	p.news("snapshot_cancelled", "k3")
	r := checkCopies(p.messages, p.database())
	if r.Wrong() || r.Snapshots != 2 || r.Cancelled != 1 || r.Reads < 10 {
		t.Errorf("%+v", r)
	}
}

// What may be wrong with a copy is found, also where all numbers are in order.
func TestCheckerCatchesWrongCopies(t *testing.T) {
	for name, test := range map[string]struct {
		wrong func(s []Message, begin, end int) []Message
		want  func(Counts) int
	}{
		"never begins":    {func(s []Message, begin, _ int) []Message { return slices.Delete(s, begin, begin+1) }, changed},
		"begins twice":    {func(s []Message, begin, _ int) []Message { return slices.Insert(s, begin, s[begin]) }, doubled},
		"ends twice":      {func(s []Message, _, end int) []Message { return slices.Insert(s, end, s[end]) }, doubled},
		"ends early":      {func(s []Message, _, end int) []Message { s[end-1], s[end] = s[end], s[end-1]; return s }, changed},
		"lacks a row":     {func(s []Message, begin, _ int) []Message { return slices.Delete(s, begin+2, begin+3) }, lost},
		"has a row twice": {func(s []Message, begin, _ int) []Message { return slices.Insert(s, begin+2, s[begin+2]) }, doubled},
		"another predicate": {func(s []Message, begin, _ int) []Message {
			s[begin].Body = []byte(strings.Replace(string(s[begin].Body), "2 = 1", "2 = 0", 1))
			return s
		}, changed},
		"an unknown predicate": {func(s []Message, begin, _ int) []Message {
			s[begin].Body = []byte(strings.Replace(string(s[begin].Body), "2 = 1", "x", 1))
			return s
		}, changed},
		"no tables": {func(s []Message, begin, _ int) []Message {
			s[begin].Body = []byte(`{"op":"m","kind":"snapshot_begin","snapshot":"k1"}`)
			return s
		}, changed},
		"inside a transaction": {func(s []Message, begin, _ int) []Message {
			at := begin - 1
			for s[at].header(headerTxLast) == "" || s[at-1].header(headerTxLast) != "" {
				at--
			}
			return slices.Insert(slices.Delete(s, begin, begin+1), at, s[begin])
		}, changed},
	} {
		t.Run(name, func(t *testing.T) {
			p := stream()
			begin := len(p.messages)
			p.copied("k1", false)
			end := len(p.messages) - 1
			p.transaction(2)
			r := checkCopies(test.wrong(slices.Clone(p.messages), begin, end), p.database())
			if test.want(r.Counts) == 0 {
				t.Errorf("not noticed: %+v\n%s", r.Counts, strings.Join(r.Findings, "\n"))
			}
		})
	}
	t.Run("an older row", func(t *testing.T) {
		p := stream()
		n := uint64(1)
		for !p.keys[cell{0, n}].alive {
			n += 2
		}
		p.news("snapshot_begin", "k1")
		p.read(p.tables[0], "k1", n, p.keys[cell{0, n}].v-1)
		p.news("snapshot_cancelled", "k1")
		if r := checkCopies(p.messages, p.database()); r.Reordered == 0 {
			t.Errorf("not noticed: %+v", r)
		}
	})
}
