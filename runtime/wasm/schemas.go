package wasm

import (
	"context"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// schemas are those that an instance was told, with its answers, by id.
type schemas struct {
	in, out []*sdk.Schema
	changed bool // some answer differs from its question

	// view is what the last batch's schemas became.
	viewOf []*sdk.Schema
	view   []*sdk.Schema
}

const (
	schemaIDMax    = 1 << 20
	schemaBytesMax = 4 << 20
)

// Schema tells the connector of a table and returns the schema of the rows that
// it gives for it: in itself when they are alike. The error is a fault of code
// step_schema with the connector's own words, or one of a failed call.
func (i *Instance) Schema(ctx context.Context, in *sdk.Schema) (*sdk.Schema, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.allow(i.config.Time, i.config.Fuel)
	return i.schema(ctx, in)
}

func (i *Instance) schema(ctx context.Context, in *sdk.Schema) (*sdk.Schema, error) {
	s := &i.schemas
	if int(in.ID) < len(s.in) && s.in[in.ID] == in {
		return s.out[in.ID], nil
	}
	if in.ID > schemaIDMax {
		return nil, fault.New(fault.Fatal, "step_schema", i.config.path(), "report it", "schema id %d is out of range", in.ID)
	}
	out, err := i.askSchema(ctx, in)
	if err != nil {
		return nil, err
	}
	for len(s.in) <= int(in.ID) {
		s.in, s.out = append(s.in, nil), append(s.out, nil)
	}
	s.in[in.ID], s.out[in.ID] = in, out
	s.changed = s.changed || out != in
	s.viewOf, s.view = nil, nil
	return out, nil
}

// askSchema makes the call.
func (i *Instance) askSchema(ctx context.Context, in *sdk.Schema) (*sdk.Schema, error) {
	p := sdk.AppendSchema(nil, in)
	if err := i.fill(ctx, sdk.BufSchema, p); err != nil {
		return nil, err
	}
	v, err := i.call(ctx, exportSchema, uint64(len(p)), 0)
	if err != nil {
		return nil, err
	}
	if int64(v) < 0 {
		return nil, i.refusal(ctx, int64(v), fault.Fatal, "step_schema",
			"change `with:` or `only:` of the step so that it fits the table "+in.FullName())
	}
	addr, length := sdk.Unpack(int64(v))
	if length == 0 {
		return in, nil
	}
	answer, ok := i.guest.view(addr, length)
	if !ok || length > schemaBytesMax {
		return nil, i.violation("its schema lies outside its memory or is too long")
	}
	out, err := sdk.DecodeSchema(answer)
	if err != nil || out.ID != in.ID || out.Table == "" {
		return nil, i.violation(fmt.Sprintf("its schema for %s is not one, or has another id", in.FullName()))
	}
	return out, nil
}

// announce tells the connector of every table in the batch that it does not know.
func (i *Instance) announce(ctx context.Context, b *sdk.Batch) error {
	last := ^uint32(0)
	for r := range b.Rows() {
		row := b.Row(r)
		if row.SchemaID() == last {
			continue
		}
		last = row.SchemaID()
		if _, err := i.schema(ctx, row.Schema()); err != nil {
			return err
		}
	}
	return nil
}

// outOf returns the schemas that the batch's rows have behind the connector,
// by id. The result is never changed afterwards: batches keep it.
func (s *schemas) outOf(in []*sdk.Schema) []*sdk.Schema {
	if !s.changed {
		return in
	}
	if len(s.viewOf) == len(in) && len(in) > 0 && &s.viewOf[0] == &in[0] && s.view != nil {
		return s.view
	}
	view := append([]*sdk.Schema(nil), in...)
	for id := range view {
		if id < len(s.out) && s.in[id] == in[id] && s.out[id] != nil {
			view[id] = s.out[id]
		}
	}
	s.viewOf, s.view = in, view
	return view
}
