package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a configuration file. They are far above any real file and keep a
// hostile one from costing memory or stack.
const (
	fileBytesMax = 256 << 10
	depthMax     = 100
	nodesMax     = 200_000
)

// nodeKind is the shape of a node.
type nodeKind uint8

const (
	nullNode nodeKind = iota
	textNode          // quoted, or not readable as anything else
	boolNode
	numberNode
	listNode
	mapNode
)

// String names the shape for messages.
func (k nodeKind) String() string {
	return [...]string{"nothing", "text", "true or false", "a number", "a list", "keys with values"}[k]
}

// node is YAML reduced to what a configuration needs, with its place.
type node struct {
	kind     nodeKind
	line     int
	col      int
	text     string // of a scalar, as written, unquoted
	value    any    // of a number or bool, as the parser reads it
	expanded bool   // text came from a placeholder, so any scalar type may read it
	items    []*node
	entries  []entry
}

type entry struct {
	key       string
	line, col int
	node      *node
}

// find returns the entry of a key, or nil.
func (n *node) find(key string) *entry {
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// parse turns YAML into nodes. Wrong YAML is a finding at its place.
func (l *loader) parse(text []byte) (root *node) {
	defer func() {
		// The parser is fed by people and tools: a panic in it is their syntax error.
		if p := recover(); p != nil {
			l.add(1, 1, CodeSyntax, "check the file's indentation and quotes", "not readable as YAML")
			root = nil
		}
	}()
	if len(text) > fileBytesMax {
		l.add(1, 1, CodeSyntax, "split it into several files", "the file is larger than %d bytes", fileBytesMax)
		return nil
	}
	if line, col, deep := tooDeep(text); deep {
		l.add(line, col, CodeSyntax, "no key of a configuration is that deep", "nested deeper than %d levels", depthMax)
		return nil
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.syntax(err)
		return nil
	}
	var docs []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		l.add(1, 1, CodeSyntax, `begin with "version: 1" and "pipelines:"`, "the file is empty")
		return nil
	case 1:
	default:
		tk := docs[1].GetToken()
		l.add(tk.Position.Line, tk.Position.Column, CodeSyntax, "put each configuration into a file of its own", "a second document begins here")
		return nil
	}
	c := converter{l: l, anchors: map[string]ast.Node{}}
	return c.convert(docs[0], 0)
}

func (l *loader) syntax(err error) {
	line, col, msg := 1, 1, err.Error()
	var s *yaml.SyntaxError
	if errors.As(err, &s) {
		msg = s.Message
		if s.Token != nil && s.Token.Position != nil {
			line, col = s.Token.Position.Line, s.Token.Position.Column
		}
	}
	l.add(line, col, CodeSyntax, "check the indentation, quotes and colons here and on the line before", "not readable as YAML: %s", msg)
}

// tooDeep bounds the nesting before the recursive parser sees it: brackets that
// are open at once, and list items that begin in a row on one line.
func tooDeep(text []byte) (line, col int, deep bool) {
	open := 0
	for i, t := range bytes.Split(text, []byte("\n")) {
		items := 0
		for lead := t; len(lead) > 1 && bytes.IndexByte([]byte("-? "), lead[0]) >= 0; lead = lead[1:] {
			if lead[0] != ' ' && lead[1] == ' ' {
				items++
			}
		}
		open = max(0, open+bytes.Count(t, []byte("["))+bytes.Count(t, []byte("{"))-
			bytes.Count(t, []byte("]"))-bytes.Count(t, []byte("}")))
		if open > depthMax || items > depthMax {
			return i + 1, 1, true
		}
	}
	return 0, 0, false
}

// converter turns the parser's tree into nodes, following anchors.
type converter struct {
	l       *loader
	anchors map[string]ast.Node
	nodes   int
}

func (c *converter) convert(n ast.Node, depth int) *node {
	out := &node{line: 1, col: 1}
	if n == nil {
		return out
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.line, out.col = tk.Position.Line, tk.Position.Column
	}
	c.nodes++
	if depth > depthMax || c.nodes > nodesMax {
		if depth == depthMax+1 || c.nodes == nodesMax+1 {
			c.l.add(out.line, out.col, CodeSyntax, "write it out with fewer aliases and levels", "too deep or too large once aliases are followed")
		}
		return out
	}
	switch v := n.(type) {
	case *ast.AnchorNode:
		c.anchors[v.Name.String()] = v.Value
		return c.convert(v.Value, depth+1)
	case *ast.AliasNode:
		target, ok := c.anchors[v.Value.String()]
		if !ok {
			c.l.add(out.line, out.col, CodeSyntax, "define it with & before it is used", "no anchor %q", v.Value.String())
			c.l.unknown[out] = true
			return out
		}
		return c.convert(target, depth+1)
	case *ast.TagNode:
		c.l.add(out.line, out.col, CodeSyntax, "remove the tag: every key knows its own type", "tags such as %s are not understood", v.Start.Value)
		return c.convert(v.Value, depth+1)
	case *ast.SequenceNode:
		out.kind = listNode
		for _, item := range v.Values {
			out.items = append(out.items, c.convert(item, depth+1))
		}
	case *ast.MappingNode:
		out.kind = mapNode
		c.entries(out, v.Values, depth)
	case *ast.MappingValueNode:
		out.kind = mapNode
		c.entries(out, []*ast.MappingValueNode{v}, depth)
	default:
		scalar(out, n)
	}
	return out
}

func scalar(out *node, n ast.Node) {
	switch v := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		out.kind, out.text = textNode, v.Value
	case *ast.LiteralNode:
		out.kind, out.text = textNode, v.Value.Value
	case *ast.BoolNode:
		out.kind, out.text, out.value = boolNode, v.GetToken().Value, v.Value
	case *ast.IntegerNode:
		out.kind, out.text, out.value = numberNode, v.GetToken().Value, v.Value
	case *ast.FloatNode:
		out.kind, out.text, out.value = numberNode, v.GetToken().Value, v.Value
	case ast.ScalarNode: // .inf, .nan
		out.kind, out.text = textNode, fmt.Sprint(v.GetValue())
	default:
		out.kind, out.text = textNode, n.String()
	}
}

// entries adds a mapping's keys; a key that comes twice is a finding.
func (c *converter) entries(out *node, values []*ast.MappingValueNode, depth int) {
	var merges []*ast.MappingValueNode
	for i, v := range values {
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merges = append(merges, v)
			continue
		}
		tk := v.Key.GetToken()
		e := entry{key: keyText(v.Key), line: tk.Position.Line, col: tk.Position.Column}
		if i == 0 {
			out.line, out.col = e.line, e.col
		}
		if first := out.find(e.key); first != nil {
			c.l.add(e.line, e.col, CodeDuplicateKey, "keep one of the two",
				"the key %q is here a second time; the first is on line %d", e.key, first.line)
			continue
		}
		e.node = c.convert(v.Value, depth+1)
		if e.node.kind == nullNode {
			e.node.line, e.node.col = e.line, e.col
		}
		out.entries = append(out.entries, e)
	}
	for _, v := range merges {
		c.merge(out, v, depth)
	}
}

// merge follows <<: keys that are there already win.
func (c *converter) merge(out *node, v *ast.MappingValueNode, depth int) {
	from := c.convert(v.Value, depth+1)
	sources := []*node{from}
	if from.kind == listNode {
		sources = from.items
	}
	for _, s := range sources {
		for _, e := range s.entries {
			if out.find(e.key) == nil {
				out.entries = append(out.entries, e)
			}
		}
	}
}

func keyText(k ast.MapKeyNode) string {
	switch v := k.(type) {
	case *ast.StringNode:
		return v.Value
	case *ast.MappingKeyNode:
		if s, ok := v.Value.(*ast.StringNode); ok {
			return s.Value
		}
	}
	return strings.TrimSpace(k.GetToken().Value)
}
