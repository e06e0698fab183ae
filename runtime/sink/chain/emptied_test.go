package chain_test

import (
	"testing"
	"testing/synctest"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// A stream that is the one it was, and has nothing any more: nobody but a person
// can know whether consumers have what it had.
func TestStreamEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newInstant()
		c := chain.New(config(), l)
		if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Fatal(err)
		}
		message := sink.Message{Subject: "cdc.p.d.t", Place: sink.Place{Tx: "t", Parts: 1}, TxLast: true}
		if err := c.Publish(t.Context(), &sink.Group{Base: "p1", End: "p2", Messages: []sink.Message{message}}); err != nil {
			t.Fatal(err)
		}
		done, err := c.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hint := sink.Hint{Token: done[0].Token, Position: "p2", Exact: true}
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.b.log = nil
		c = chain.New(config(), l)
		defer c.Close(t.Context())
		_, err = c.Claim(t.Context(), hint, start)
		if f := fault.Of(err); f.Code != sink.CodeStreamRollback || f.Class != fault.Environment || f.Hint == "" {
			t.Errorf("%v (%v)", err, f.Class)
		}
		if len(l.b.log) != 0 {
			t.Error("something was written into it")
		}
	})
}
