package oracle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// shared is the faultless stream as it comes out of a broker that others write
// to, whose connection breaks now and then.
func sharedStream() (p *publisher, messages []Message) {
	p = stream()
	at, epoch := time.Unix(1000, 0), "1"
	add := func(ms ...Message) {
		for _, m := range ms {
			if m.Header != nil { // what comes again is the present writer's
				m.Header = maps.Clone(m.Header)
				epoch = max(epoch, m.header(headerEpoch))
				m.Header[headerEpoch] = []string{epoch}
			}
			at = at.Add(10 * time.Millisecond)
			m.Time, m.Sequence = at, uint64(len(messages)+1)
			messages = append(messages, m)
		}
	}
	for i := 0; i < len(p.messages); i += 20 {
		piece := p.messages[i:min(i+20, len(p.messages))]
		add(piece...)
		add(Message{Subject: "other.x", Body: []byte("somebody's")})
		if i%60 == 0 && len(piece) == 20 {
			at = at.Add(10 * time.Second)
			add(piece[7:]...)
			at = at.Add(10 * time.Second)
			add(piece[7:12]...)
			at = at.Add(10 * time.Second)
			add(piece[12:16]...)
			add(piece[7:12]...) // broken again, and the broker remembers the last four
			add(piece[16:]...)
			at = at.Add(10 * time.Second)
		}
	}
	return p, messages
}

func checkFirsts(messages []Message, database map[string][][]string) (*Firsts, Report) {
	c := NewChecker(Spec{Pipeline: "p", Shared: true})
	f := NewFirsts(c, time.Second)
	for _, m := range messages {
		f.Message(m)
	}
	c.Compare(database)
	return f, c.Report()
}

func TestFirstsAcceptsWhatComesAgain(t *testing.T) {
	p, messages := sharedStream()
	f, r := checkFirsts(messages, p.database())
	if r.Wrong() {
		t.Fatalf("%+v\n%s", r.Counts, strings.Join(r.Findings, "\n"))
	}
	if f.Foreign < 20 || f.Repeats < 100 || f.Pieces < 20 || r.Rows < 350 {
		t.Errorf("%d of others, %d again in %d pieces, %d rows", f.Foreign, f.Repeats, f.Pieces, r.Rows)
	}
}

// Each way of being wrong is found, and called what it is.
func TestFirstsFinds(t *testing.T) {
	p, good := sharedStream()
	repeated := func(ms []Message) int { // where a piece that is sent again begins, between data messages
		last := map[string]bool{}
		for i, m := range ms {
			if pos := m.header(headerPos); pos != "" && m.header(headerKind) == "" {
				if last[pos] && ms[i+1].header(headerKind) == "" && ms[i+2].header(headerKind) == "" && ms[i+3].header(headerKind) == "" {
					return i
				}
				last[pos] = true
			}
		}
		panic("nothing comes again")
	}
	for name, tt := range map[string]struct {
		harm func([]Message) []Message
		want func(Counts) bool
	}{
		"a message is missing": {func(ms []Message) []Message { return slices.Delete(ms, 300, 301) }, func(c Counts) bool { return c.Lost > 0 }},
		"a first message is missing, and comes again later": {func(ms []Message) []Message {
			i := slices.IndexFunc(ms, func(m Message) bool { return m.header(headerPos) == ms[repeated(ms)].header(headerPos) })
			return slices.Delete(ms, i, i+1)
		}, func(c Counts) bool { return c.Lost+c.Reordered > 0 }},
		"what comes again is something else": {func(ms []Message) []Message {
			ms[repeated(ms)].Body = []byte("{}")
			return ms
		}, func(c Counts) bool { return c.Changed > 0 }},
		"what comes again leaves something out": {func(ms []Message) []Message {
			i := repeated(ms)
			return slices.Delete(ms, i+1, i+2)
		}, func(c Counts) bool { return c.Reordered > 0 }},
		"a message comes again alone": {func(ms []Message) []Message {
			i := repeated(ms)
			return slices.Delete(ms, i+1, i+8)
		}, func(c Counts) bool { return c.Reordered > 0 }},
		"two are exchanged": {func(ms []Message) []Message {
			i := len(ms) - 30
			for ms[i].header(headerKind) != "" || ms[i+1].header(headerKind) != "" || ms[i].header(headerPos) == "" || ms[i+1].header(headerPos) == "" {
				i++
			}
			ms[i], ms[i+1] = ms[i+1], ms[i]
			return ms
		}, func(c Counts) bool { return c.Lost+c.Reordered > 0 }},
		"somebody else's are counted, not judged": {func(ms []Message) []Message {
			return append(ms, Message{Subject: "other.x"})
		}, func(c Counts) bool { return c == Counts{} }},
	} {
		t.Run(name, func(t *testing.T) {
			ms := tt.harm(slices.Clone(good))
			for i := range ms {
				ms[i].Sequence = uint64(i + 1) // the broker lost nothing
			}
			if _, r := checkFirsts(ms, p.database()); !tt.want(r.Counts) {
				t.Errorf("%+v\n%s", r.Counts, strings.Join(r.Findings, "\n"))
			}
		})
	}
	f, r := checkFirsts(good[:len(good)-3:len(good)-3], p.database())
	if fmt.Sprint(r.Counts) == fmt.Sprint(Counts{}) {
		t.Errorf("the end is missing: %+v", f)
	}
}
