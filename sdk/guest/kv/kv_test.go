//go:build !wasip1

package kv_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/kv"
)

// teller does with kv what each row's text says, and notes what it was told.
type teller struct{ said []string }

func (t *teller) Init([]byte) error                       { return nil }
func (t *teller) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }

func (t *teller) Row(r sdk.Row, _ *guest.Output) (sdk.Verdict, error) {
	word, arg, _ := strings.Cut(string(r.After().Bytes(0)), " ")
	switch word {
	case "put":
		return sdk.VerdictPass, kv.Put([]byte("k"), []byte(arg))
	case "delete":
		return sdk.VerdictPass, kv.Delete([]byte("k"))
	case "refuse":
		if err := errors.Join(kv.Put([]byte("k"), []byte("refused")), kv.Put([]byte("other"), nil), kv.Delete([]byte("k"))); err != nil {
			return 0, err
		}
		return 0, errors.New("refused")
	}
	v, ok, err := kv.Get([]byte("k"))
	if !ok {
		v = []byte("none")
	}
	t.said = append(t.said, string(v))
	_ = kv.Scan(nil, nil, func(k, _ []byte) bool {
		t.said = append(t.said, string(k))
		return true
	})
	return sdk.VerdictPass, err
}

var schema = &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "s", Type: sdk.TypeString}}}

func batch(t *testing.T, i *guest.Instance, texts ...string) {
	t.Helper()
	var b sdk.Builder
	b.Reset()
	b.BeginTx(sdk.TxInfo{})
	for n, text := range texts {
		b.BeginRow(schema, sdk.OpInsert, sdk.RowAfter, uint64(n))
		b.SetBytes(b.After(), 0, []byte(text))
		b.EndRow()
	}
	in := b.Seal([]*sdk.Schema{nil, schema}).Bytes()
	n := copy(i.Buf(sdk.BufBatch, len(in)+64), in)
	if _, err := i.Transform(n); err != nil {
		t.Fatal(err)
	}
}

// Outside WebAssembly values last from batch to batch, as in the host, and what
// a refused row wrote does not count.
func TestNative(t *testing.T) {
	kv.Reset()
	c := &teller{}
	i := guest.New(c)
	p := sdk.AppendSchema(nil, schema)
	copy(i.Buf(sdk.BufSchema, len(p)), p)
	if _, err := i.Schema(len(p)); err != nil {
		t.Fatal(err)
	}
	batch(t, i, "get", "put 1", "get", "refuse", "get")
	batch(t, i, "refuse", "get") // row 0 again, of another batch
	batch(t, i, "delete", "get")
	if d := cmp.Diff([]string{"none", "1", "k", "1", "k", "1", "k", "none"}, c.said); d != "" {
		t.Error(d)
	}
}

func TestLimits(t *testing.T) {
	kv.Reset()
	big := bytes.Repeat([]byte("k"), sdk.KVKeyBytesMax+1)
	for name, tt := range map[string]struct{ got, want error }{
		"no key":      {kv.Put(nil, nil), kv.ErrKey},
		"long key":    {kv.Delete(big), kv.ErrKey},
		"long prefix": {kv.Scan(big, nil, nil), kv.ErrKey},
		"long value":  {kv.Put([]byte("k"), make([]byte, sdk.KVValueBytesMax+1)), kv.ErrValue},
		"no batch":    {kv.Put([]byte("k"), nil), kv.ErrNoBatch},
		"scan":        {kv.Scan(nil, nil, nil), kv.ErrNoBatch},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v", name, tt.got)
		}
	}
	if _, _, err := kv.Get([]byte("k")); err != kv.ErrNoBatch {
		t.Error(err)
	}
}
