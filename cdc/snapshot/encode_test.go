package snapshot

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A cursor is written as encoding/json writes it, whatever fields it has: one that
// is added to a type and not to its writing is missed here.
func TestEncode(t *testing.T) {
	for _, c := range []Cursor{{}, {Requests: []Request{{}}}, {Work: Work{Open: []Progress{{}, {Ranges: []Range{}}}}}} {
		equalJSON(t, &c)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var c Cursor
		fill(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)), reflect.ValueOf(&c).Elem(), rapid.Float64Range(0, 1).Draw(rt, "empty"))
		equalJSON(rt, &c)
		back, err := ParseCursor(c.Encode())
		if err != nil {
			rt.Fatal(err)
		}
		equalJSON(rt, &back)
	})
	var full Cursor // no field left out
	fill(rand.New(rand.NewPCG(1, 2)), reflect.ValueOf(&full).Elem(), 0)
	equalJSON(t, &full)
}

func equalJSON(t interface{ Fatalf(string, ...any) }, c *Cursor) {
	want, err := json.Marshal(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(string(want), string(c.Encode())); diff != "" {
		t.Fatalf("encoding/json and Encode differ (-json +ours):\n%s", diff)
	}
}

// fill gives a value and all in it something, but for a share that stays empty.
func fill(r *rand.Rand, v reflect.Value, empty float64) {
	if v.Kind() != reflect.Struct && r.Float64() < empty {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), empty)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), empty)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 4))
		for i := range v.Len() {
			fill(r, v.Index(i), empty)
		}
	case reflect.String:
		texts := []string{"k1~0123abcd~i-7", "db.t%2Ex", `a < 'b' AND "c" > \x`, "größer\u2028\n\x00", "\xff&"}
		v.SetString(texts[r.IntN(len(texts))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64:
		v.SetUint(1 + r.Uint64N(1<<62))
	case reflect.Int64:
		v.SetInt(-1 - r.Int64N(1<<62))
	default:
		panic("a cursor has a field of another kind: " + v.Type().String())
	}
}
