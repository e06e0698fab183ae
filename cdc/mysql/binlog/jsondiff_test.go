package binlog

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is {"a": 1, "bb": [true, null]} in binary form.
func small() []byte {
	doc := []byte{jsonSmallObject, 2, 0, 31, 0, 18, 0, 1, 0, 19, 0, 2, 0, jsonInt16, 1, 0, jsonSmallArray, 21, 0}
	doc = append(doc, "abb"...)
	return append(doc, 2, 0, 10, 0, jsonLiteral, 1, 0, jsonLiteral, 0, 0)
}

type difference struct {
	op    byte
	path  string
	value []byte
}

func diffs(list ...difference) (out []byte) {
	for _, d := range list {
		out = append(append(out, d.op, byte(len(d.path))), d.path...)
		if d.op != diffRemove {
			out = append(append(out, byte(len(d.value))), d.value...)
		}
	}
	return out
}

// TestJSONDiff: what a difference does, and which don't fit.
func TestJSONDiff(t *testing.T) {
	seven := []byte{jsonInt16, 7, 0}
	for _, c := range []struct {
		list []difference
		want string // "" for an error
	}{
		{nil, `{"a": 1, "bb": [true, null]}`},
		{[]difference{{diffReplace, "$.a", seven}}, `{"a": 7, "bb": [true, null]}`},
		{[]difference{{diffReplace, `$."a"`, small()}}, `{"a": {"a": 1, "bb": [true, null]}, "bb": [true, null]}`},
		{[]difference{{diffReplace, `$."\u0061"`, seven}, {diffRemove, "$.bb", nil}}, `{"a": 7}`},
		{[]difference{{diffInsert, "$.c", seven}, {diffInsert, "$.aa", seven}, {diffInsert, `$.""`, seven}},
			`{"": 7, "a": 1, "c": 7, "aa": 7, "bb": [true, null]}`},
		{[]difference{{diffInsert, "$.bb[0]", seven}, {diffInsert, "$.bb[9]", seven}}, `{"a": 1, "bb": [7, true, null, 7]}`},
		{[]difference{{diffInsert, "$.bb[last]", seven}, {diffRemove, "$.bb[last-2]", nil}}, `{"a": 1, "bb": [7, null]}`},
		{[]difference{{diffInsert, "$.bb[last-9]", seven}}, `{"a": 1, "bb": [7, true, null]}`},
		{[]difference{{diffRemove, "$.bb[0]", nil}, {diffRemove, "$.bb[0]", nil}, {diffRemove, "$.a", nil}}, `{"bb": []}`},
		{[]difference{{diffReplace, "$", seven}}, ""},
		{[]difference{{diffReplace, "$.x", seven}}, ""},
		{[]difference{{diffInsert, "$.a", seven}}, ""},
		{[]difference{{diffRemove, "$.x", nil}}, ""},
		{[]difference{{diffRemove, "$.bb[2]", nil}}, ""},
		{[]difference{{diffReplace, "$.bb[last-2]", seven}}, ""},
		{[]difference{{diffReplace, "$.a.b", seven}}, ""},
		{[]difference{{diffReplace, "$.bb.b", seven}}, ""},
		{[]difference{{diffReplace, "$[0]", seven}}, ""},
		{[]difference{{diffReplace, "a", seven}}, ""},
		{[]difference{{diffReplace, "$.bb[x]", seven}}, ""},
		{[]difference{{diffReplace, `$."a`, seven}}, ""},
		{[]difference{{diffReplace, "$.", seven}}, ""},
		{[]difference{{diffReplace, "$.a", nil}}, ""},
		{[]difference{{3, "$.a", seven}}, ""},
	} {
		got, err := appendJSONPatched([]byte("> "), small(), diffs(c.list...))
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%v gives %s", c.list, got)
		case c.want != "" && (err != nil || string(got) != "> "+c.want):
			t.Errorf("%v gives %s, %v\n%s", c.list, got, err, cmp.Diff("> "+c.want, string(got)))
		}
	}
	if _, err := appendJSONPatched(nil, nil, diffs(difference{diffRemove, "$.a", nil})); err == nil {
		t.Error("a difference to no document")
	}
	if _, err := appendJSONPatched(nil, small(), []byte{diffReplace, 200}); err == nil {
		t.Error("differences that end too early")
	}
}

// FuzzJSONDiff: no bytes make it panic, or take memory beyond their own size.
func FuzzJSONDiff(f *testing.F) {
	f.Add(small(), diffs(difference{diffReplace, "$.a", []byte{jsonInt16, 7, 0}}))
	f.Add(small(), diffs(difference{diffInsert, "$.bb[last-1]", small()}, difference{diffRemove, `$."a"`, nil}))
	f.Add([]byte{jsonSmallArray, 1, 0, 7, 0, jsonSmallArray, 0, 0}, diffs(difference{diffRemove, "$[0][0][0][0][0]", nil}))
	f.Fuzz(func(t *testing.T, doc, d []byte) {
		out, err := appendJSONPatched(nil, doc, d)
		if max := 64 + 40*(len(doc)+len(d)); err == nil && len(out) > max {
			t.Errorf("%d bytes of text of %d and %d", len(out), len(doc), len(d))
		}
	})
}
