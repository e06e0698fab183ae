package wasm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTransform(t *testing.T) {
	i := labInstance(t, "")
	var res Result
	tests := []struct {
		name     string
		in, want []string
	}{
		{"pass", []string{"x", "y"}, []string{"0 x", "1 y"}},
		{"drop", []string{"x", "drop", "z"}, []string{"0 x", "2 z"}},
		{"drop all", []string{"drop", "drop"}, nil},
		{"edit", []string{"x", "edit:new", "z"}, []string{"0 x", "1 new", "2 z"}},
		{"edit and drop", []string{"drop", "edit:new", "z"}, []string{"1 new", "2 z"}},
		{"replace", []string{"x", "replace:2", "z"}, []string{"0 x", "1 replace:2", "1 replace:2", "2 z"}},
		{"replace by none", []string{"x", "replace:0", "z"}, []string{"0 x", "2 z"}},
		{"new, edit, drop", []string{"new:5", "edit:e", "drop", "z"}, []string{"0 new", "1 e", "3 z"}},
		{"dead", []string{"dead:why", "z"}, []string{"1 z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := batchOf(tt.in...)
			before := string(in.Bytes())
			if err := i.Transform(t.Context(), in, &res); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, textsOf(res.Out)); d != "" {
				t.Error(d)
			}
			if string(in.Bytes()) != before {
				t.Error("the input changed")
			}
		})
	}
}
