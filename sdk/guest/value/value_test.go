package value_test

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest/value"
)

func TestReader(t *testing.T) {
	for _, size := range []int{0, 10, sdk.LargeBytesMin - 1, sdk.LargeBytesMin, 1 << 20} {
		want := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		s := &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "v", Type: sdk.TypeBytes, Nullable: true}}}
		b := &sdk.Builder{}
		b.Reset()
		b.BeginTx(sdk.TxInfo{ID: []byte("tx")})
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, 0)
		b.SetBytes(b.After(), 0, want)
		b.EndRow()
		b.EndTx(1, 1)
		r := value.NewReader(b.Seal([]*sdk.Schema{nil, s}).Row(0).After(), 0)
		if r.Len() != size {
			t.Errorf("%d bytes are %d", size, r.Len())
		}
		if err := iotest.TestReader(io.NewSectionReader(r, 0, int64(size)), want); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
	}
}
