package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

// config is what `with:` says.
type config struct {
	Where *string `json:"where"`
}

type filter struct {
	where *node
	tests []test // by schema id
	env   env
}

// Warm implements guest.Warmer: the first use of encoding/json is most of what
// an instance's start takes.
func (f *filter) Warm() {
	sample := filter{}
	_ = sample.Init([]byte(`{"where":"a = 'b' and c > 1"}`))
}

// Init reads the configuration and the expression.
func (f *filter) Init(text []byte) error {
	var c config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return fmt.Errorf("`with` is not understood: %v; write {where: \"status = 'paid'\"}", err)
	}
	if c.Where == nil {
		return errors.New("where is missing; write where: \"status = 'paid'\", or where: \"true\" to keep all")
	}
	var err error
	f.where, err = parse(*c.Where)
	return err
}

// Schema binds the expression to the table.
func (f *filter) Schema(in *sdk.Schema) (*sdk.Schema, error) {
	t, err := bind(f.where, in)
	if err != nil {
		return nil, err
	}
	for len(f.tests) <= int(in.ID) {
		f.tests = append(f.tests, nil)
	}
	f.tests[in.ID] = t
	return nil, nil
}

// Row keeps the row if the expression is true for it, and drops it if it is
// false or unknown. A truncation concerns all rows and is kept.
func (f *filter) Row(r sdk.Row, _ *guest.Output) (sdk.Verdict, error) {
	e := &f.env
	*e = env{op: r.Op(), image: r.After()}
	if e.op == sdk.OpTruncate {
		return sdk.VerdictPass, nil
	}
	if int(e.op) >= len(opNames) {
		return 0, fmt.Errorf("operation %d is not known", e.op)
	}
	if !e.image.Valid() {
		e.image = r.Before()
	}
	v := f.tests[r.SchemaID()].eval(e)
	if e.err != nil {
		return 0, e.err
	}
	if v == yes {
		return sdk.VerdictPass, nil
	}
	return sdk.VerdictDrop, nil
}

// A module built with -buildmode=c-shared never runs main: see package guest.
var _ = guest.Register(&filter{})

func main() {}
