package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// nullSink confirms everything at once and keeps nothing.
type nullSink struct {
	groups chan *sink.Group
	out    []sink.Confirmed
}

func newNullSink() *nullSink { return &nullSink{groups: make(chan *sink.Group, 64)} }

func (s *nullSink) Claim(ctx context.Context, _ sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	base, err := initial(ctx)
	return sink.Anchor{Base: base, Epoch: 1}, err
}

func (s *nullSink) Publish(ctx context.Context, g *sink.Group) error {
	select {
	case s.groups <- g:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *nullSink) Wait(ctx context.Context) ([]sink.Confirmed, error) {
	for _, c := range s.out {
		c.Group.Done()
	}
	select {
	case g := <-s.groups:
		s.out = append(s.out[:0], sink.Confirmed{Group: g, Token: "t"})
		return s.out, nil
	case <-ctx.Done():
		s.out = s.out[:0]
		return nil, context.Cause(ctx)
	}
}

func (s *nullSink) Close(context.Context) error { return nil }

// passStep copies every row, as a transform that edits each does.
type passStep struct{ modelStep }

func (s *passStep) Process(_ context.Context, in *sdk.Batch) (Output, error) {
	s.builder.Reset()
	i := 0
	for t := range in.Txs() {
		s.builder.CopyTx(in.Tx(t))
		for ; i < in.Rows() && in.Row(i).TxIndex() == t; i++ {
			s.builder.CopyRow(in.Row(i))
		}
	}
	return Output{Batch: s.builder.Seal(in.Schemas())}, nil
}

// benchScript is a log of transactions of the given size, with rows in all.
func benchScript(rows, txRows int) cdctest.Script {
	table := cdctest.Table(1, "orders")
	one := make([]cdctest.Row, txRows)
	for i := range one {
		one[i] = cdctest.Row{Schema: table, Key: 5, Text: "a note of a length that notes usually have, or so"}
	}
	s := cdctest.Script{Ends: true}
	for i := range rows / txRows {
		s.Txs = append(s.Txs, cdctest.Tx{ID: fmt.Sprintf("3e11fa47-71ca-11e1-9e33-c80aa9429562:%d", i), Time: 1e15, Rows: one})
	}
	return s
}

func benchRun(tb testing.TB, script cdctest.Script, step bool) {
	r := newWorld().rig(tb, script, func(s *Spec) {
		s.Sink = newNullSink()
		s.Steps = nil
		if step {
			s.Steps = func(context.Context) ([]Step, error) { return []Step{&passStep{}}, nil }
		}
	})
	if err := r.p.Run(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if err := r.store.Close(); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkPipeline(b *testing.B) {
	for _, txRows := range []int{1, 10, 100} {
		for _, step := range []bool{false, true} {
			b.Run(fmt.Sprintf("tx=%d/step=%v", txRows, step), func(b *testing.B) {
				const rows = 100_000
				script := benchScript(rows, txRows)
				b.ReportAllocs()
				for b.Loop() {
					benchRun(b, script, step)
				}
				b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// Rows cost no allocation: what a run allocates hardly grows with them. Checkpoints
// do cost some, and a slow machine has more of them in a run: no time passes here.
// What batches cost depends on how many are under way; an allocation for each
// transaction would be a tenth of one for each row.
func TestRowsDoNotAllocate(t *testing.T) {
	few, many := benchScript(10_000, 10), benchScript(60_000, 10)
	for _, step := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := testing.AllocsPerRun(2, func() { benchRun(t, few, step) })
			b := testing.AllocsPerRun(2, func() { benchRun(t, many, step) })
			if perRow := (b - a) / 50_000; perRow > 0.08 {
				t.Errorf("step=%v: %.3f allocations per row", step, perRow)
			} else {
				t.Logf("step=%v: %.3f allocations per row", step, perRow)
			}
		})
	}
}
