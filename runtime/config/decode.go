package config

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/internal/unit"
)

var (
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	choiceType = reflect.TypeFor[unit.Choice]()
)

// decode fills v from n by v's yaml tags. Whatever doesn't fit is a finding at
// its place, and the rest is decoded all the same. path is the key path for
// people.
func (l *loader) decode(n *node, v reflect.Value) {
	if n == nil || n.kind == nullNode || l.unknown[n] {
		return // an empty key keeps its default
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		l.decode(n, v.Elem())
		return
	}
	if v.Type() == rawType {
		l.decodeJSON(n, v)
		return
	}
	if v.Type() == choiceType {
		l.choice(n, v)
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(textType) && n.isScalar() {
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
			what, hint, ok := strings.Cut(err.Error(), ": write ")
			if ok {
				hint = "write " + hint
			}
			l.add(n.line, n.col, CodeBadValue, hint, "%s", what)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		l.decodeStruct(n, v)
	case reflect.Map:
		l.decodeMap(n, v)
	case reflect.Slice:
		l.decodeSlice(n, v)
	case reflect.Interface:
		l.decodeAny(n, v)
	default:
		l.decodeScalar(n, v)
	}
}

func (n *node) isScalar() bool {
	return n.kind == textNode || n.kind == boolNode || n.kind == numberNode
}

// field is one key of a struct.
type field struct {
	key   string
	index []int
	path  bool // a file or directory, relative to the configuration file
	doc   string
	typ   reflect.Type
}

// fieldsOf returns a struct's keys in order; embedded structs and those tagged
// `yaml:",inline"` give theirs.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.Type.Kind() == reflect.Struct && (strings.Contains(options, "inline") || f.Anonymous && key == "") {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fields = append(fields, inner)
			}
			continue
		}
		if !f.IsExported() || key == "-" || key == "" {
			continue
		}
		fields = append(fields, field{key, []int{i}, f.Tag.Get("config") == "path", f.Tag.Get("doc"), f.Type})
	}
	return fields
}

func (l *loader) decodeStruct(n *node, v reflect.Value) {
	if n.kind != mapNode {
		l.wrongType(n, mapNode)
		return
	}
	fields := fieldsOf(v.Type())
	byKey := map[string]field{}
	keys := make([]string, 0, len(fields))
	for _, f := range fields {
		byKey[f.key] = f
		keys = append(keys, f.key)
	}
	for _, e := range n.entries {
		f, ok := byKey[e.key]
		if !ok {
			l.unknownKey(n, e, keys)
			continue
		}
		l.decode(e.node, v.FieldByIndex(f.index))
		if f.path {
			l.resolvePaths(v.FieldByIndex(f.index))
		}
	}
}

// resolvePaths makes relative paths relative to the configuration file's
// directory, so that a configuration means the same wherever it is run from.
func (l *loader) resolvePaths(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(l.path(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			l.resolvePaths(v.Index(i))
		}
	}
}

// unknownKey reports a key of n that is none of keys.
func (l *loader) unknownKey(n *node, e entry, keys []string) {
	if meant := nearest(e.key, keys); meant != "" && n.find(meant) == nil {
		l.meant[n] = append(l.meant[n], meant)
	}
	l.add(e.line, e.col, CodeUnknownKey, didYouMean(e.key, keys), "unknown key %q", e.key)
}

func (l *loader) wrongType(n *node, want nodeKind) {
	hint := map[nodeKind]string{
		mapNode: "write the keys below it, indented, or {key: value}", textNode: "write one value",
		listNode: "write it as a list: [a, b]", boolNode: "write true or false", numberNode: "write a plain number, without quotes or unit",
	}[want]
	l.add(n.line, n.col, CodeWrongType, hint, "want %s here, not %s", want, n.kind)
}

func (l *loader) decodeMap(n *node, v reflect.Value) {
	if n.kind != mapNode || v.Type().Key().Kind() != reflect.String {
		l.wrongType(n, mapNode)
		return
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, e := range n.entries {
		item := reflect.New(v.Type().Elem()).Elem()
		l.decode(e.node, item)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), item)
	}
}

func (l *loader) decodeSlice(n *node, v reflect.Value) {
	if n.kind != listNode {
		l.wrongType(n, listNode)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		l.decode(item, out.Index(i))
	}
	v.Set(out)
}

func (l *loader) decodeScalar(n *node, v reflect.Value) {
	if !n.isScalar() {
		want := map[reflect.Kind]nodeKind{reflect.String: textNode, reflect.Bool: boolNode}
		kind, ok := want[v.Kind()]
		if !ok {
			kind = numberNode
		}
		l.wrongType(n, kind)
		return
	}
	if v.Kind() == reflect.String {
		v.SetString(n.text)
		return
	}
	if n.kind == textNode && !n.expanded {
		if v.Kind() == reflect.Bool {
			l.wrongType(n, boolNode)
		} else {
			l.wrongType(n, numberNode)
		}
		return
	}
	var err error
	switch v.Kind() {
	case reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(n.text); err == nil {
			v.SetBool(b)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		if i, err = strconv.ParseInt(n.text, 0, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var u uint64
		if u, err = strconv.ParseUint(n.text, 0, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	case reflect.Float32, reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(n.text, v.Type().Bits()); err == nil {
			v.SetFloat(f)
		}
	default:
		panic("config: a configuration struct has a field of type " + v.Type().String() + ", which YAML can't fill")
	}
	if err != nil {
		l.add(n.line, n.col, CodeBadValue, rangeHint(v), "%q does not fit here", n.text)
	}
}

func rangeHint(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "write true or false"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("write a whole number from 0 to %d", ^uint64(0)>>(64-v.Type().Bits()))
	case reflect.Float32, reflect.Float64:
		return "write a number"
	}
	return "write a whole number"
}

// decodeJSON gives a subtree as JSON: what a connector's configuration is.
func (l *loader) decodeJSON(n *node, v reflect.Value) {
	v.SetBytes(l.appendJSON(nil, n))
}

func (l *loader) decodeAny(n *node, v reflect.Value) {
	var a any
	d := json.NewDecoder(bytes.NewReader(l.appendJSON(nil, n)))
	d.UseNumber()
	if d.Decode(&a) == nil && a != nil {
		v.Set(reflect.ValueOf(a))
	}
}

func (l *loader) appendJSON(dst []byte, n *node) []byte {
	switch n.kind {
	case listNode:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = l.appendJSON(dst, item)
		}
		return append(dst, ']')
	case mapNode:
		dst = append(dst, '{')
		for i, e := range n.entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(append(dst, jsonText(e.key)...), ':')
			dst = l.appendJSON(dst, e.node)
		}
		return append(dst, '}')
	case nullNode:
		return append(dst, "null"...)
	case boolNode:
		return strconv.AppendBool(dst, n.value == true)
	case numberNode:
		if json.Valid([]byte(n.text)) { // as written: no digit is lost
			return append(dst, n.text...)
		}
		if b, err := json.Marshal(n.value); err == nil {
			return append(dst, b...)
		}
	}
	return append(dst, jsonText(n.text)...)
}

func jsonText(s string) []byte {
	b, _ := json.Marshal(s) // a string always marshals
	return b
}
