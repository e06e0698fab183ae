package oracle

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// publisher makes the stream that a faultless product would make.
type publisher struct {
	messages []Message
	rand     *rand.Rand
	tables   []*table
	keys     map[cell]state
	tx       uint64
	base     uint64
	count    uint64 // of data messages
	counted  int    // rows of the last transaction, by its writer
}

func (p *publisher) add(subject string, header map[string]string, body string) {
	seq := uint64(len(p.messages) + 1)
	if header[headerKind] == "" {
		p.count++
	}
	h := map[string][]string{
		headerSeq: {strconv.FormatUint(p.count, 10)}, headerEpoch: {strconv.FormatUint(1+seq/500, 10)},
	}
	if header[headerBase] != "" {
		p.base = seq
	} else {
		h[headerBaseSeq] = []string{strconv.FormatUint(p.base, 10)}
	}
	for k, v := range header {
		h[k] = []string{v}
	}
	p.messages = append(p.messages, Message{Sequence: seq, Subject: subject, Header: h, Body: []byte(body)})
}

// change is one row of a transaction.
type change struct {
	t             *table
	op            string
	before, after map[string]json.RawMessage
}

func (p *publisher) image(t *table, n, v uint64, rows int) map[string]json.RawMessage {
	_, canon := t.values(n, v)
	values := map[string]json.RawMessage{}
	for i, col := range t.columns {
		text := canon[i]
		switch {
		case col.kind == kindRowCount:
			text = strconv.Itoa(rows)
		case text == null:
			values[col.name] = json.RawMessage("null")
			continue
		case col.kind == kindBytes:
			plain, _ := hex.DecodeString(text)
			text = base64.StdEncoding.EncodeToString(plain)
		case col.kind == kindTime && strings.Contains(text, " "):
			text = strings.Replace(text, " ", "T", 1)
		}
		quoted, _ := json.Marshal(text)
		values[col.name] = quoted
	}
	return values
}

// transaction publishes some changes and the writer's own row.
func (p *publisher) transaction(rows int) {
	var changes []change
	for len(changes) < rows {
		i := []int{0, 0, 0, 1, 2}[p.rand.IntN(5)]
		t, c := p.tables[i], cell{i, p.rand.Uint64N(20)}
		switch s := p.keys[c]; {
		case !s.alive:
			changes = append(changes, change{t, "c", nil, p.image(t, c.n, s.v+1, 0)})
			p.keys[c] = state{s.v + 1, true}
		case oneIn(p.rand, 4):
			changes = append(changes, change{t, "d", p.image(t, c.n, s.v, 0), nil})
			p.keys[c] = state{s.v + 1, false}
		case oneIn(p.rand, 4) && !p.keys[cell{i, c.n + 20}].alive:
			to := cell{i, c.n + 20}
			v := p.keys[to].v + 1
			changes = append(changes, change{t, "u", p.image(t, c.n, s.v, 0), p.image(t, to.n, v, 0)})
			p.keys[c], p.keys[to] = state{s.v + 1, false}, state{v, true}
		default:
			changes = append(changes, change{t, "u", p.image(t, c.n, s.v, 0), p.image(t, c.n, s.v+1, 0)})
			p.keys[c] = state{s.v + 1, true}
		}
	}
	w := p.tables[4]
	own := change{w, "u", p.image(w, 0, p.tx, p.counted), p.image(w, 0, p.tx+1, rows+1)}
	p.counted = rows + 1
	p.publish(append(changes, own), p.rand.IntN(5) == 0)
}

func (p *publisher) publish(changes []change, txEnd bool) {
	p.tx++
	last := map[string]int{}
	for i, ch := range changes {
		last[ch.t.name] = i
	}
	for i, ch := range changes {
		header := map[string]string{headerPos: fmt.Sprintf("binlog.000001:%d#%d.0/1#%d", 100*p.tx, i, i)}
		if last[ch.t.name] == i && !txEnd {
			header[headerSubjectLast] = "1"
		}
		if i == len(changes)-1 && !txEnd {
			header[headerTxLast], header[headerTxRows] = "1", strconv.Itoa(len(changes))
		}
		body, _ := json.Marshal(map[string]any{"before": ch.before, "after": ch.after, "op": ch.op,
			"source": map[string]string{"db": DB, "table": ch.t.name}})
		p.add("cdc.p."+DB+"."+ch.t.name, header, string(body))
	}
	if txEnd {
		p.add("cdc.p._cdcd", map[string]string{headerKind: "tx_end", headerPos: fmt.Sprintf("binlog.000001:%d#%d.0/0#%d", 100*p.tx, len(changes), len(changes)), headerTxLast: "1", headerSubjectLast: "1", headerTxRows: strconv.Itoa(len(changes))}, `{"op":"m"}`)
	}
}

// database is what the tables hold in the end.
func (p *publisher) database() map[string][][]string {
	all := map[string][][]string{}
	for c, s := range p.keys {
		if t := p.tables[c.table]; s.alive {
			_, canon := t.row(c.n, s.v)
			all[t.name] = append(all[t.name], canon)
		}
	}
	all[writerTable] = [][]string{{"0", fmt.Sprint(p.tx), fmt.Sprint(p.counted)}}
	return all
}

func stream() *publisher {
	p := &publisher{rand: rand.New(rand.NewPCG(7, 7)), tables: tables(), keys: map[cell]state{}, counted: 1}
	p.add("cdc.p._cdcd", map[string]string{headerKind: "marker", headerBase: "x"}, `{"op":"m"}`)
	w := p.tables[4]
	p.publish([]change{{w, "c", nil, p.image(w, 0, 1, 1)}}, false)
	for i := range 150 {
		if i%40 == 39 {
			p.add("cdc.p._cdcd", map[string]string{headerKind: "heartbeat", headerBase: "x"}, `{"op":"m"}`)
		}
		p.transaction(1 + p.rand.IntN(5))
	}
	return p
}

func check(messages []Message, database map[string][][]string) Report {
	c := NewChecker(Spec{Pipeline: "p"})
	for _, m := range messages {
		c.Message(m)
	}
	c.Compare(database)
	return c.Report()
}

func TestCheckerAcceptsAFaultlessStream(t *testing.T) {
	p := stream()
	r := check(p.messages, p.database())
	if r.Wrong() {
		t.Fatalf("%+v\n%s", r.Counts, strings.Join(r.Findings, "\n"))
	}
	if r.Messages != len(p.messages) || r.Rows < 350 || r.Transactions != 151 {
		t.Errorf("saw %d of %d messages, %d rows, %d transactions", r.Messages, len(p.messages), r.Rows, r.Transactions)
	}
}

// renumber hides a fault from the counters: what a product would do that
// numbers its messages well but gives the wrong ones.
func renumber(messages []Message) []Message {
	base, count := uint64(0), uint64(0)
	for i := range messages {
		m := &messages[i]
		seq := uint64(i + 1)
		m.Sequence = seq
		m.Header = maps.Clone(m.Header)
		if m.header(headerKind) == "" {
			count++
		}
		m.Header[headerSeq] = []string{strconv.FormatUint(count, 10)}
		if m.header(headerBase) != "" {
			base = seq
		} else {
			m.Header[headerBaseSeq] = []string{strconv.FormatUint(base, 10)}
		}
	}
	return messages
}

func with(m Message, header, value string) Message {
	m.Header = maps.Clone(m.Header)
	if m.Header[header] = []string{value}; value == "" {
		delete(m.Header, header)
	}
	return m
}

func TestCheckerCatchesEachKindOfWrong(t *testing.T) {
	whole := func(s []Message, i int) (begin, end int) { // the transaction that message i is in
		tx, _, _ := strings.Cut(s[i].header(headerPos), "#")
		in := func(k int) bool { return strings.HasPrefix(s[k].header(headerPos), tx+"#") }
		for begin = i; in(begin - 1); begin-- {
		}
		for end = i; in(end) || s[end].header(headerKind) == "tx_end"; end++ {
		}
		return begin, end
	}
	tests := map[string]struct {
		hidden bool // also found when the counters are in order
		wrong  func(s []Message, i int) []Message
		want   func(Counts) int
	}{
		"lost":             {true, func(s []Message, i int) []Message { return slices.Delete(s, i, i+1) }, lost},
		"lost transaction": {true, func(s []Message, i int) []Message { b, e := whole(s, i); return slices.Delete(s, b, e) }, lost},
		"lost tail":        {true, func(s []Message, i int) []Message { b, _ := whole(s, i); return s[:b] }, lost},
		"doubled":          {true, func(s []Message, i int) []Message { return slices.Insert(s, i, s[i]) }, doubled},
		"doubled transaction": {true, func(s []Message, i int) []Message {
			b, e := whole(s, i)
			return slices.Insert(s, e, slices.Clone(s[b:e])...)
		}, doubled},
		"reordered":        {true, func(s []Message, i int) []Message { s[i-1], s[i] = s[i], s[i-1]; return s }, reordered},
		"older epoch":      {true, func(s []Message, i int) []Message { s[i] = with(s[i], headerEpoch, "0"); return s }, reordered},
		"changed value":    {true, replaceIn(`@exämple`, `@example`), changed},
		"changed to null":  {true, func(s []Message, i int) []Message { return nullIn(s, i, "balance") }, changed},
		"column left out":  {true, func(s []Message, i int) []Message { return dropIn(s, i, "small") }, changed},
		"another table":    {true, func(s []Message, i int) []Message { s[i].Subject = "cdc.p.shop.noise"; return s }, changed},
		"another subject":  {true, func(s []Message, i int) []Message { s[i].Subject = "elsewhere"; return s }, changed},
		"another pipeline": {true, func(s []Message, i int) []Message { s[i].Subject = "cdc.q.shop.accounts"; return s }, changed},
		"not JSON":         {true, func(s []Message, i int) []Message { s[i].Body = []byte("{"); return s }, changed},
		"rows miscounted": {true, func(s []Message, i int) []Message {
			_, e := whole(s, i)
			s[e-1] = with(s[e-1], headerTxRows, "99")
			return s
		}, changed},
		"end left out": {true, func(s []Message, i int) []Message {
			_, e := whole(s, i)
			s[e-1] = with(s[e-1], headerTxLast, "")
			return s
		}, lost},
		"ends early": {true, func(s []Message, i int) []Message {
			b, _ := whole(s, i)
			s[b] = with(s[b], headerTxLast, "1")
			return s
		}, doubled},
		"subject never last": {true, func(s []Message, i int) []Message {
			_, e := whole(s, i)
			s[e-1] = with(s[e-1], headerSubjectLast, "")
			return s
		}, changed},
		"no base":         {false, func(s []Message, i int) []Message { s[i] = with(s[i], headerBaseSeq, ""); return s }, changed},
		"wrong base":      {false, func(s []Message, i int) []Message { s[i] = with(s[i], headerBaseSeq, "2"); return s }, changed},
		"place unread":    {true, func(s []Message, i int) []Message { s[i] = with(s[i], headerPos, "x"); return s }, changed},
		"unknown control": {true, func(s []Message, i int) []Message { s[0] = with(s[0], headerKind, "x"); return s }, changed},
	}
	for name, test := range tests {
		for _, hidden := range []bool{false, true} {
			if hidden && !test.hidden {
				continue
			}
			t.Run(fmt.Sprintf("%s/hidden=%t", name, hidden), func(t *testing.T) {
				p := stream()
				database := p.database()
				i := victim(t, p.messages)
				messages := test.wrong(p.messages, i)
				if hidden {
					messages = renumber(messages)
				}
				r := check(messages, database)
				if test.want(r.Counts) == 0 {
					t.Errorf("not noticed: %+v\n%s", r.Counts, strings.Join(r.Findings, "\n"))
				}
			})
		}
	}
}

// victim is a message in the middle of a transaction that has its end on its
// last message, of the table accounts, behind another one of accounts, with a
// value that tests change.
func victim(t *testing.T, s []Message) int {
	t.Helper()
	for i := 100; i < len(s)-50; i++ {
		if s[i].Subject == "cdc.p.shop.accounts" && s[i-1].Subject == s[i].Subject && s[i+1].header(headerTxLast) != "" &&
			strings.Contains(string(s[i].Body), "@ex") && strings.Contains(s[i].header(headerPos), "#1.") {
			return i
		}
	}
	t.Fatal("the stream has no message that the test can use")
	return 0
}

func lost(c Counts) int      { return c.Lost }
func doubled(c Counts) int   { return c.Doubled }
func reordered(c Counts) int { return c.Reordered }
func changed(c Counts) int   { return c.Changed }

func replaceIn(from, to string) func([]Message, int) []Message {
	return func(s []Message, i int) []Message {
		s[i].Body = []byte(strings.Replace(string(s[i].Body), from, to, 1))
		return s
	}
}

func nullIn(s []Message, i int, column string) []Message {
	return edit(s, i, func(image map[string]any) { image[column] = nil })
}

func dropIn(s []Message, i int, column string) []Message {
	return edit(s, i, func(image map[string]any) { delete(image, column) })
}

func edit(s []Message, i int, f func(map[string]any)) []Message {
	var body map[string]any
	if err := json.Unmarshal(s[i].Body, &body); err != nil {
		panic(err)
	}
	for _, image := range []string{"before", "after"} {
		if values, ok := body[image].(map[string]any); ok {
			f(values)
		}
	}
	s[i].Body, _ = json.Marshal(body)
	return s
}
