package binlog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// Operations of a difference between two JSON documents. Source: Json_diff in
// sql/json_diff.h.
const (
	diffReplace = 0
	diffInsert  = 1
	diffRemove  = 2
)

var errJSONDiff = errors.New("a partial update does not fit the JSON document before it")

// jsonNode is a value of a document that is being changed. A container stays as
// it is in binary form until a path leads into it.
type jsonNode struct {
	typ  byte
	raw  []byte // of the value, behind its type
	open bool   // keys and kids have taken raw's place
	keys [][]byte
	kids []*jsonNode
}

// jsonPatch applies differences to one document. budget bounds the values that
// it unfolds: a document has fewer than bytes, unless it is forged.
type jsonPatch struct {
	root   *jsonNode
	budget int
}

// appendJSONPatched appends the text of doc after the differences, as MySQL
// prints it. diffs are what a PARTIAL_UPDATE_ROWS has behind their length: none
// leave the document as it is.
func appendJSONPatched(dst, doc, diffs []byte) ([]byte, error) {
	if len(diffs) == 0 {
		return appendJSON(dst, doc)
	}
	if len(doc) == 0 {
		return dst, errJSONDiff
	}
	size := len(doc) + len(diffs)
	p := jsonPatch{root: &jsonNode{typ: doc[0], raw: doc[1:]}, budget: size}
	c := cursor{p: diffs}
	for len(c.p) > 0 {
		op := c.u8()
		path := c.text()
		var value []byte
		if op != diffRemove {
			value = c.text()
		}
		if c.bad || op > diffRemove || op != diffRemove && len(value) == 0 {
			return dst, errJSONDiff
		}
		if err := p.apply(op, string(path), value); err != nil {
			return dst, err
		}
	}
	w := jsonWriter{dst: dst, budget: size + 1}
	w.node(p.root, 1)
	if w.bad {
		return dst, errJSON
	}
	return w.dst, nil
}

// node prints a value that may have been changed.
func (w *jsonWriter) node(n *jsonNode, depth int) {
	if !n.open {
		w.value(n.typ, n.raw, depth)
		return
	}
	if depth > jsonDepthMax+1 {
		w.bad = true
		return
	}
	open, end := byte('['), byte(']')
	if n.keys != nil {
		open, end = '{', '}'
	}
	w.dst = append(w.dst, open)
	for i, kid := range n.kids {
		if i > 0 {
			w.dst = append(w.dst, ", "...)
		}
		if n.keys != nil {
			w.text(n.keys[i])
			w.dst = append(w.dst, ": "...)
		}
		w.node(kid, depth+1)
	}
	w.dst = append(w.dst, end)
}

// apply applies one difference. What the path names has to be there, and what
// is inserted must not.
func (p *jsonPatch) apply(op byte, path string, value []byte) error {
	legs, ok := jsonPath(path)
	if !ok || len(legs) == 0 {
		return errJSONDiff
	}
	n := p.root
	for _, leg := range legs[:len(legs)-1] {
		i, found := p.find(n, leg)
		if !found {
			return errJSONDiff
		}
		n = n.kids[i]
	}
	i, found := p.find(n, legs[len(legs)-1])
	if i < 0 || op != diffInsert && !found || op == diffInsert && n.keys != nil && found {
		return errJSONDiff
	}
	switch op {
	case diffReplace:
		n.kids[i] = &jsonNode{typ: value[0], raw: value[1:]}
	case diffInsert:
		n.kids = slices.Insert(n.kids, i, &jsonNode{typ: value[0], raw: value[1:]})
		if n.keys != nil {
			n.keys = slices.Insert(n.keys, i, []byte(legs[len(legs)-1].name))
		}
	case diffRemove:
		n.kids = slices.Delete(n.kids, i, i+1)
		if n.keys != nil {
			n.keys = slices.Delete(n.keys, i, i+1)
		}
	}
	return nil
}

// find returns where a leg leads to in a value, and whether something is there;
// otherwise where it would be inserted. It is -1 in a value without such places.
func (p *jsonPatch) find(n *jsonNode, leg jsonLeg) (i int, found bool) {
	if !n.open && !p.unfold(n) || (n.keys != nil) == leg.cell {
		return -1, false
	}
	if n.keys != nil { // in the server's order: by length, then by bytes
		return slices.BinarySearchFunc(n.keys, []byte(leg.name), func(a, b []byte) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a, b))
		})
	}
	size := uint64(len(n.kids))
	switch {
	case leg.last && leg.index < size:
		return int(size - leg.index - 1), true
	case leg.last:
		return 0, false
	case leg.index < size:
		return int(leg.index), true
	}
	return int(size), false
}

// unfold takes a container apart.
func (p *jsonPatch) unfold(n *jsonNode) bool {
	if n.typ > jsonLargeArray {
		return false
	}
	width := 2
	if n.typ == jsonLargeObject || n.typ == jsonLargeArray {
		width = 4
	}
	b, ok := openJSON(n.raw, n.typ <= jsonLargeObject, width)
	if p.budget -= b.count; !ok || p.budget < 0 {
		return false
	}
	n.open, n.kids = true, make([]*jsonNode, b.count)
	if b.object {
		n.keys = make([][]byte, b.count)
	}
	for i := range n.kids {
		if b.object {
			off, size := b.keys.uint(width), uint64(b.keys.u16())
			if off+size > uint64(len(b.p)) {
				return false
			}
			n.keys[i] = b.p[off : off+size]
		}
		typ, v, ok := b.entry()
		if !ok {
			return false
		}
		n.kids[i] = &jsonNode{typ: typ, raw: v}
	}
	return true
}

// jsonLeg is one step of a path: a member's name, or an array's cell counted
// from its beginning or its end.
type jsonLeg struct {
	cell  bool
	last  bool
	name  string
	index uint64
}

// jsonPath reads a path as the server writes it: $.name, $."a name", $[3],
// $[last-3].
func jsonPath(text string) (legs []jsonLeg, ok bool) {
	text, ok = strings.CutPrefix(text, "$")
	for ok && text != "" {
		var leg jsonLeg
		switch {
		case len(legs) > jsonDepthMax:
			return nil, false
		case text[0] == '[':
			leg, text, ok = jsonCell(text[1:])
		case text[0] == '.':
			leg.name, text, ok = jsonMember(text[1:])
		default:
			ok = false
		}
		legs = append(legs, leg)
	}
	return legs, ok
}

func jsonCell(text string) (leg jsonLeg, rest string, ok bool) {
	inside, rest, ok := strings.Cut(text, "]")
	leg.cell = true
	if tail, last := strings.CutPrefix(inside, "last"); last {
		leg.last = true
		if tail == "" {
			return leg, rest, ok
		}
		tail, minus := strings.CutPrefix(tail, "-")
		inside, ok = tail, ok && minus
	}
	var err error
	leg.index, err = strconv.ParseUint(inside, 10, 32)
	return leg, rest, ok && err == nil
}

func jsonMember(text string) (name, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		n := strings.IndexAny(text, ".[")
		if n < 0 {
			n = len(text)
		}
		return text[:n], text[n:], n > 0
	}
	end := 1
	for end < len(text) && text[end] != '"' {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(text) {
		return "", "", false
	}
	err := json.Unmarshal([]byte(text[:end+1]), &name)
	return name, text[end+1:], err == nil
}
