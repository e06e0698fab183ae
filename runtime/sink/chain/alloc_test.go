package chain

import (
	"testing"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// discard takes messages, and keeps and answers nothing.
type discard struct{ *promptLog }

func (discard) Send(*Outgoing) error { return nil }

// Nothing is allocated per message, whatever kind of run it is sent in.
func TestMessagesAllocateNothing(t *testing.T) {
	for name, cfg := range map[string]Config{"flowing": {}, "atomic": {Atomic: true}, "whole": {Atomic: true, WholeTx: true}, "shared": {Shared: true}} {
		c, log := claimed(t)
		c.cfg.Atomic, c.cfg.WholeTx, c.cfg.Shared = cfg.Atomic, cfg.WholeTx, cfg.Shared
		c.log = discard{log}
		g := &sink.Group{Base: "p"}
		for i := range 500 {
			g.Messages = append(g.Messages, sink.Message{Subject: "c.t", Body: []byte("x"), TxLast: i%4 == 3,
				Place: sink.Place{Tx: "t", Row: uint64(i), Parts: 1}})
		}
		e := entry{group: g, to: 500, taken: 500}
		c.run.open = true
		if n := testing.AllocsPerRun(20, func() { c.sendEntry(&e, false) }); n > 2 { // the base's number, once in 1,000
			t.Errorf("%s: %v allocations for 500 messages", name, n)
		}
		if n := testing.AllocsPerRun(20, func() { c.piece(g, 0) }); n != 0 {
			t.Errorf("%s: %v allocations for a piece", name, n)
		}
	}
}
