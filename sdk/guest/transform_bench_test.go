package guest

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

type passer struct{ edit bool }

func (passer) Init([]byte) error                       { return nil }
func (passer) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }
func (p passer) Row(r sdk.Row, _ *Output) (sdk.Verdict, error) {
	if p.edit {
		return sdk.VerdictEdited, r.After().SetBytes(1, []byte("abcdefgh"))
	}
	return sdk.VerdictPass, nil
}
func BenchmarkTransformNative(b *testing.B) {
	s := &sdk.Schema{ID: 1, DB: "d", Table: "t"}
	for range 8 {
		s.Columns = append(s.Columns, sdk.Column{Name: "c", Type: sdk.TypeInt})
	}
	s.Columns[1].Type = sdk.TypeString
	bl := &sdk.Builder{}
	bl.Reset()
	bl.BeginTx(sdk.TxInfo{})
	for n := range 256 {
		bl.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(n))
		bl.SetBytes(bl.After(), 1, []byte("some text"))
		bl.EndRow()
	}
	batch := bl.Seal([]*sdk.Schema{nil, s})
	i := New(passer{})
	p := sdk.AppendSchema(nil, s)
	copy(i.Buf(sdk.BufSchema, len(p)), p)
	if _, err := i.Schema(len(p)); err != nil {
		b.Fatal(err)
	}
	n := copy(i.Buf(sdk.BufBatch, 1<<17), batch.Bytes())
	sdk.SetCapacity(i.Buf(sdk.BufBatch, 1<<17), 1<<17)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Transform(n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/row")
}
