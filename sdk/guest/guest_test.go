package guest

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/sdk"
)

// byText decides by the text in a row's column 0.
type byText struct{ schema *sdk.Schema }

func (b *byText) Init(config []byte) error {
	if string(config) == `"bad"` {
		return errors.New("bad is not good")
	}
	return nil
}

func (b *byText) Schema(in *sdk.Schema) (*sdk.Schema, error) { return b.schema, nil }

func (b *byText) Row(r sdk.Row, out *Output) (sdk.Verdict, error) {
	switch command := string(r.After().Bytes(0)); command {
	case "edit":
		return sdk.VerdictEdited, r.After().SetBytes(0, []byte("edited"))
	case "twice":
		out.Copy(r)
		out.Route(r, []byte("to"), nil, nil)
		return sdk.VerdictReplaced, nil
	case "twice, then drop":
		out.Copy(r)
		return sdk.VerdictDrop, nil
	case "half, then error":
		out.Begin(r.Schema(), sdk.OpInsert, sdk.RowAfter)
		return 0, errors.New(strings.Repeat("long ", 1000))
	case "stop":
		return 0, &sdk.Error{Code: sdk.CodeBadBatch, Message: "stop"}
	}
	return sdk.VerdictPass, nil
}

var schema = &sdk.Schema{ID: 1, DB: "d", Table: "t", Columns: []sdk.Column{{Name: "s", Type: sdk.TypeString}}}

// run gives rows to a fresh instance, with extra bytes of room.
func run(t *testing.T, extra int, texts ...string) (*Instance, sdk.Result, error) {
	t.Helper()
	i := New(&byText{})
	p := sdk.AppendSchema(nil, schema)
	copy(i.Buf(sdk.BufSchema, len(p)), p)
	if answer, err := i.Schema(len(p)); err != nil || answer != nil {
		t.Fatal(answer, err)
	}
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{})
	for _, text := range texts {
		b.BeginRow(schema, sdk.OpInsert, sdk.RowAfter, 5)
		b.SetBytes(b.After(), 0, []byte(text))
		b.EndRow()
	}
	in := b.Seal([]*sdk.Schema{nil, schema}).Bytes()
	n := copy(i.Buf(sdk.BufBatch, len(in)+extra), in)
	sdk.SetCapacity(i.Buf(sdk.BufBatch, 0), len(in)+extra)
	res, err := i.Transform(n)
	return i, res, err
}

func TestVerdicts(t *testing.T) {
	i, res, err := run(t, 100, "x", "edit", "twice", "twice, then drop", "half, then error", "twice")
	if err != nil {
		t.Fatal(err)
	}
	if res.RowsDone != 6 || string(i.Verdicts()) != "\x00\x02\x03\x01\x04\x03" || res.Want != 0 {
		t.Errorf("%+v %v", res, i.Verdicts())
	}
	out, err := sdk.Open(i.Output(), []*sdk.Schema{nil, schema}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var sources []int
	for k := range out.Rows() {
		sources = append(sources, out.Row(k).Source())
		if out.Row(k).Ordinal() != 5 {
			t.Errorf("row %d has ordinal %d", k, out.Row(k).Ordinal())
		}
	}
	if len(sources) != 4 || sources[1] != 2 || sources[2] != 5 {
		t.Errorf("sources %v", sources)
	}
	if subject, _, _ := out.Row(1).Dest(); string(subject) != "to" {
		t.Errorf("subject %q", subject)
	}
	r := i.Reasons()
	if binary.LittleEndian.Uint32(r) != 4 || int(binary.LittleEndian.Uint32(r[4:])) != reasonBytesMax || len(r) != 8+reasonBytesMax {
		t.Errorf("%d bytes of reasons", len(r))
	}
}

func TestRunsOutOfRoom(t *testing.T) {
	_, res, err := run(t, 8, "x", "edit", "edit", "x")
	if err != nil || res.RowsDone != 2 || res.VerdictsLen != 2 || res.Want == 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestStops(t *testing.T) {
	_, _, err := run(t, 0, "x", "stop")
	if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeBadBatch {
		t.Error(err)
	}
	i := New(&byText{})
	n := copy(i.Buf(sdk.BufConfig, 9), `"bad"`)
	if e, ok := errors.AsType[*sdk.Error](i.Init(n)); !ok || e.Code != sdk.CodeBadConfig || e.Message != "bad is not good" {
		t.Error(e)
	}
	if i.Buf(9, 1) != nil || i.Init(1<<20) == nil {
		t.Error("a wild kind or length was taken")
	}
	if _, err := i.Schema(0); err == nil {
		t.Error("no bytes are a schema")
	}
	if _, err := i.Transform(0); err == nil {
		t.Error("no bytes are a batch")
	}
}

func TestSchemaKeepsTheID(t *testing.T) {
	answer := *schema
	answer.ID, answer.Table = 99, "renamed"
	i := New(&byText{schema: &answer})
	p := sdk.AppendSchema(nil, schema)
	copy(i.Buf(sdk.BufSchema, len(p)), p)
	got, err := i.Schema(len(p))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := sdk.DecodeSchema(got); err != nil || s.ID != 1 || s.Table != "renamed" {
		t.Error(s, err)
	}
}
