package consume

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

func (w *writer) news(body string) {
	kind := struct{ Kind string }{"snapshot_begin"}
	if _, err := fmt.Sscanf(body, `{"op":"m","kind":%q`, &kind.Kind); err != nil {
		w.t.Fatal(err)
	}
	w.publish("cdc.shop._cdcd", body, map[string]string{"Cdc-Kind": kind.Kind, "Cdc-Pos": "-", "Cdc-Seq": fmt.Sprint(w.counter)})
}

// Who asks for it is told of copies, in their place between transactions, and from
// a mark on each once; who does not meets rows alone.
func TestSnapshots(t *testing.T) {
	nc := testserver.NATS(t).Conn(t)
	w := newWriter(t, nc)
	w.tx("u:1", "orders")
	w.news(`{"op":"m","kind":"snapshot_begin","snapshot":"k1","tables":["shop.orders"],"where":"id > 3","columns":["note"]}`)
	w.tx("snapshot/k1/shop.orders/0/7", "orders")
	w.counter++
	w.publish("cdc.shop.shop.orders", `{}`, map[string]string{"Cdc-Pos": "u:2#0.0/1#0", "Cdc-Seq": fmt.Sprint(w.counter)}) // its end is never said
	w.news(`{"op":"m","kind":"snapshot_failed","snapshot":"k1","tables":["shop.orders"],"code":"snapshot_where"}`)
	w.tx("u:3", "orders")

	all := func(c Config) (told []string, marks []Mark) {
		c.Stream, c.UntilCaughtUp = "SHOP", true
		r, err := Open(t.Context(), nc, c)
		must(t, err)
		must(t, r.Run(t.Context(), func(_ context.Context, tx *Tx) error {
			text := fmt.Sprintf("%s %d", tx.ID, len(tx.Messages))
			if s := tx.Snapshot; s != nil {
				text = fmt.Sprint(text, *s)
			}
			told, marks = append(told, text), append(marks, tx.Mark)
			return nil
		}))
		return told, marks
	}
	want := []string{"u:1 1", " 0{snapshot_begin k1 [shop.orders] id > 3 [note] }", "snapshot/k1/shop.orders/0/7 1", "u:2 1",
		" 0{snapshot_failed k1 [shop.orders]  [] snapshot_where}", "u:3 1"}
	got, marks := all(Config{Snapshots: true})
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	for i, mark := range marks {
		rest, _ := all(Config{Snapshots: true, From: mark})
		if d := cmp.Diff(want[i+1:], rest, cmp.Transformer("none", func(l []string) []string { return append([]string{}, l...) })); d != "" {
			t.Errorf("behind %s:\n%s", want[i], d)
		}
	}
	got, _ = all(Config{})
	if d := cmp.Diff([]string{want[0], want[2], want[3], want[5]}, got); d != "" {
		t.Error(d)
	}
	if _, err := Open(t.Context(), nc, Config{Stream: "SHOP", Subjects: []string{"cdc.shop.shop.orders"}, Narrow: true, Snapshots: true}); err == nil {
		t.Error("one subject has no news")
	}
	w.news(`{"op":"m","kind":"snapshot_moved","snapshot":"k1"}`) // what a later version may tell
	if got, _ = all(Config{Snapshots: true}); len(got) != len(want) {
		t.Errorf("%q", got)
	}
	w.news(`{"op":"m","kind":"snapshot_end"}`)
	r, err := Open(t.Context(), nc, Config{Stream: "SHOP", Snapshots: true})
	must(t, err)
	if err := r.Run(t.Context(), func(context.Context, *Tx) error { return nil }); !errors.Is(err, ErrForeign) {
		t.Error(err)
	}
}

func TestPlaceOfASnapshot(t *testing.T) {
	for tx, want := range map[string]string{"u:1": "", "binlog.000003:4": "", "snapshot/shop.orders/3/7": "initial", "snapshot/shop.orders/8.3/7": "initial", "snapshot/mwqv5xjz/shop.orders/3/7": "mwqv5xjz"} {
		if id, ok := (Place{Tx: tx}).Snapshot(); id != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", tx, id, ok)
		}
	}
}
