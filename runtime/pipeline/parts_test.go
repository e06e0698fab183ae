package pipeline

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/format/json"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// modelFormat gives for a row as many messages as its key divided by three
// leaves, of which the second has no body.
type modelFormat struct{ *json.Format }

func (f *modelFormat) Parts(r sdk.Row) int { return int(r.After().Int(0) % 3) }

func (f *modelFormat) AppendPart(dst []byte, r sdk.Row, c format.Context, i int) []byte {
	if i == 1 {
		return dst
	}
	return strconv.AppendUint(f.AppendRow(dst, r, c), uint64(c.Part), 10)
}

func (f *modelFormat) AppendPartKey(dst []byte, r sdk.Row, _ format.Context, i int) []byte {
	return strconv.AppendInt(f.AppendKey(dst, r), int64(i), 10)
}

func (f *modelFormat) AppendPartHeaders(dst []byte, _ sdk.Row, _ format.Context, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, "Part: second\n"...)
}

func (f *modelFormat) SendsKey() bool { return true }

// Rows give none, one and two messages; a row that a step doubles gives four,
// numbered through; what a step routes keeps its key and headers.
func TestParts(t *testing.T) {
	w := newWorld()
	row := func(key int64) cdctest.Row { return cdctest.Row{Schema: cdctest.Table(1, "t"), Key: key, Text: "x"} }
	// The model's step lets 5 and 6 pass, makes three of 2, and routes 11.
	script := cdctest.Script{Ends: true, RowsMax: 9, Txs: []cdctest.Tx{{ID: "u:1", Rows: []cdctest.Row{row(5), row(6), row(2), row(11)}}}}
	r := w.rig(t, script, func(s *Spec) { s.Format = &modelFormat{json.New()} })
	defer r.close(t)
	if err := r.p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	type message struct {
		Place, Key, Headers string
		Empty               bool
	}
	var got []message
	for _, m := range w.broker.kinds(sink.KindData) {
		if !m.KeyHeader {
			t.Errorf("%v: the key is not for a header", m.Place)
		}
		if last := strconv.Itoa(int(m.Place.Part)); m.Body != "" && m.Body[len(m.Body)-1:] != last {
			t.Errorf("%v: the format was told part %s", m.Place, m.Body[len(m.Body)-1:])
		}
		got = append(got, message{m.Place.String(), m.Key, m.Headers, m.Body == ""})
	}
	key := func(n, i string) string { return `{"id":` + n + `}` + i }
	const second = "Part: second\n"
	want := []message{
		{"u:1#0.0/2#0", key("5", "0"), "", false}, {"u:1#0.1/2#1", key("5", "1"), second, true},
		{"u:1#2.0/6#2", key("2", "0"), "", false}, {"u:1#2.1/6#3", key("2", "1"), second, true},
		{"u:1#2.2/6#4", key("2", "0"), "", false}, {"u:1#2.3/6#5", key("2", "1"), second, true},
		{"u:1#2.4/6#6", key("2", "0"), "", false}, {"u:1#2.5/6#7", key("2", "1"), second, true},
		{"u:1#3.0/2#8", "k", "A: b\n", false}, {"u:1#3.1/2#9", "k", "A: b\n" + second, true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}
