package consume

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// parts writes a transaction in parts, and its tx_end with the body; without says
// which of its rows to leave out, -1 for none.
func (w *writer) parts(id string, without int, body string, tables ...string) {
	for i, table := range tables {
		if i == without {
			continue
		}
		w.counter++
		w.publish("cdc.shop.shop."+table, fmt.Sprintf(`{"op":"c","after":{"id":%d}}`, w.counter),
			map[string]string{"Cdc-Pos": fmt.Sprintf("%s#%d.0/1#%d", id, i, i), "Cdc-Seq": fmt.Sprint(w.counter)})
	}
	n := len(tables)
	w.publish("cdc.shop._cdcd", body, map[string]string{"Cdc-Kind": "tx_end", "Cdc-Pos": fmt.Sprintf("%s#%d.0/0#%d", id, n, n),
		"Cdc-Seq": fmt.Sprint(w.counter), "Cdc-Tx-Last": "1", "Cdc-Tx-Rows": fmt.Sprint(n)})
}

const threeRows = `{"op":"m","kind":"tx_end","messages":3,"subjects":{"cdc.shop.shop.x":2,"cdc.shop.shop.y":1}}`

// The end of a transaction counts it, and is compared with what was read.
func TestTallyOfATransaction(t *testing.T) {
	for name, tt := range map[string]struct {
		without int
		body    string
		tables  []string
		want    error
	}{
		"all there":                  {-1, threeRows, []string{"x", "y", "x"}, nil},
		"totals alone":               {-1, `{"op":"m","messages":3,"subjects_left_out":"too_many"}`, []string{"x", "y", "x"}, nil},
		"a row is missing":           {1, threeRows, []string{"x", "y", "x"}, ErrMissing},
		"one is on another subject":  {-1, threeRows, []string{"x", "y", "y"}, ErrMissing},
		"one more subject":           {-1, threeRows, []string{"x", "y", "z"}, ErrMissing},
		"totals alone, one missing":  {2, `{"op":"m","messages":3}`, []string{"x", "y", "x"}, ErrMissing},
		"the end is not JSON":        {-1, `{`, []string{"x", "y", "x"}, ErrForeign},
		"its beginning is not there": {0, threeRows, []string{"x", "y", "x"}, nil}, // expired, as far as a reader can tell
	} {
		t.Run(name, func(t *testing.T) {
			nc := testserver.NATS(t).Conn(t)
			w := newWriter(t, nc)
			w.tx("a:1", "x")
			w.parts("a:2", tt.without, tt.body, tt.tables...)
			got, _, err := read(t, nc, Config{})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if done := strings.Contains(fmt.Sprint(got), "a:2"); done != (tt.want == nil) {
				t.Errorf("handed out: %v", got)
			}
		})
	}
}

// What is counted has a bound, and beyond it only the total is compared.
func TestTallyHasALimit(t *testing.T) {
	var c tally
	for i := range 3000 {
		c.add(Place{Tx: "t", N: uint64(i)}, fmt.Sprint("s", i))
	}
	if len(c.by) != tallySubjectsMax || !c.over || c.total != 3000 {
		t.Fatalf("%d subjects, %d rows", len(c.by), c.total)
	}
	last := Place{Tx: "t"}
	if err := c.check(last, []byte(`{"messages":2999}`)); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	c.add(Place{Tx: "u", N: 5}, "s") // a reader that goes on inside
	if err := c.check(Place{Tx: "u"}, []byte(`{"messages":9}`)); err != nil {
		t.Error(err)
	}
}
