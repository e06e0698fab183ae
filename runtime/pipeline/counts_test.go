package pipeline

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/state/statetest"
)

// subjectsOf is how many of the messages are on each subject, as JSON.
func subjectsOf(messages []stored) string {
	on := map[string]int{}
	for _, m := range messages {
		on[m.Subject]++
	}
	b, err := json.Marshal(on)
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}

func TestCountsHaveALimit(t *testing.T) {
	var c counts
	for range 2 {
		for i := range subjectsMax {
			for range 3 {
				c.add(fmt.Sprint("cdc.shop.", i))
				c.addView(fmt.Append(nil, "cdc.shop.", i))
			}
		}
		if len(c.by) != subjectsMax || c.leftOut != "" || *c.by["cdc.shop.7"] != 6 {
			t.Fatalf("%d subjects, left out %q", len(c.by), c.leftOut)
		}
		c.add("cdc.shop.7")
		c.addView([]byte("one.more"))
		c.add("cdc.shop.7")
		if len(c.by) != 0 || c.leftOut != format.SubjectsTooMany {
			t.Fatalf("%d subjects, left out %q", len(c.by), c.leftOut)
		}
		c.reset()
	}
	for i := range 20 {
		c.add(fmt.Sprint(i, strings.Repeat("x", subjectBytesMax/20)))
	}
	if len(c.by) != 0 || c.leftOut != format.SubjectsTooMany {
		t.Errorf("%d long subjects, left out %q", len(c.by), c.leftOut)
	}
}

func TestCountsAllocateNothing(t *testing.T) {
	var c counts
	view := []byte("cdc.shop.to")
	c.add("cdc.shop.shop.orders")
	c.addView(view)
	if n := testing.AllocsPerRun(100, func() { c.add("cdc.shop.shop.orders"); c.addView(view) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// forgetful is a sink that can't tell what it had.
type forgetful struct{ sink.Sink }

// A transaction that is resumed where the sink can't tell what it had ends with
// its totals, and says why there is no more.
func TestCountsNotKnown(t *testing.T) {
	var rows []cdctest.Row
	for i := range 40 {
		rows = append(rows, cdctest.Row{Schema: cdctest.Table(uint32(1+i%2), fmt.Sprint("t", i%2)), Key: 5})
	}
	script := cdctest.Script{Ends: true, RowsMax: 4, Txs: []cdctest.Tx{{ID: "u:1", Rows: rows}}}
	for name, tt := range map[string]struct {
		less int // messages that are gone
		wrap func(*Spec)
		want string
	}{
		"it can tell":   {0, nil, `"subjects":{"cdc.shop.shop.t0":20,"cdc.shop.shop.t1":20}`},
		"it can't tell": {0, func(s *Spec) { s.Sink = forgetful{s.Sink} }, `"subjects_left_out":"not_known"`},
		"it has less":   {5, nil, `"subjects_left_out":"not_known"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			r := w.rig(t, script, nil)
			if err := r.p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.close(t)
			w.broker.messages = w.broker.messages[tt.less:25] // delivery stands inside, and the state is lost
			w.disk = statetest.NewDisk()
			r = w.rig(t, script, tt.wrap)
			if err := r.p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.close(t)
			end := w.broker.kinds(sink.KindTxEnd)
			if len(end) != 1 || !strings.HasSuffix(end[0].Body, `"messages":40,`+tt.want+"}") {
				t.Errorf("%+v", end)
			}
		})
	}
}
