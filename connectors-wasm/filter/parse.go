package main

import "strings"

// node is an expression as written: before it is bound to a table.
type node struct {
	op   string // and or not; = != < <= > >=; in like null; column literal
	pos  int
	args []*node
	not  bool    // of in, like and null
	lit  literal // of literal
	name string  // of column
}

// literal is a constant.
type literal struct {
	kind kind // number, str, word for true and false, end for NULL
	text string
}

// Bounds of an expression: what is deeper or longer is not written by hand.
const (
	depthMax = 100
	textMax  = 64 << 10
)

// parser reads an expression by recursive descent:
//
//	or   = and { OR and }
//	and  = not { AND not }
//	not  = NOT not | test
//	test = operand [ compare operand | IS [NOT] NULL | [NOT] IN ( literal, ... ) | [NOT] LIKE text ]
//	operand = literal | name | ( or )
type parser struct {
	tokens []token
	depth  int
}

func parse(text string) (*node, error) {
	if len(text) > textMax {
		return nil, fail(1, "the expression is longer than %d bytes", textMax)
	}
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if t := p.tokens[0]; t.kind != end {
		return nil, fail(t.pos, "%q is not expected here; join conditions with AND or OR", t.text)
	}
	return n, nil
}

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != end {
		p.tokens = p.tokens[1:]
	}
	return t
}

// is reports whether the next token is the keyword or symbol, and takes it.
func (p *parser) is(text string) bool {
	t := p.tokens[0]
	if t.kind == symbol && t.text == text || t.kind == word && strings.EqualFold(t.text, text) {
		p.next()
		return true
	}
	return false
}

func (p *parser) or() (*node, error)  { return p.chain("or", p.and) }
func (p *parser) and() (*node, error) { return p.chain("and", p.negation) }

func (p *parser) chain(op string, part func() (*node, error)) (*node, error) {
	pos := p.tokens[0].pos
	first, err := part()
	if err != nil {
		return nil, err
	}
	all := []*node{first}
	for p.is(op) {
		n, err := part()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if len(all) == 1 {
		return first, nil
	}
	return &node{op: op, pos: pos, args: all}, nil
}

func (p *parser) negation() (*node, error) {
	if p.depth++; p.depth > depthMax {
		return nil, fail(p.tokens[0].pos, "the expression is nested more than %d deep", depthMax)
	}
	defer func() { p.depth-- }()
	pos := p.tokens[0].pos
	if p.is("not") {
		n, err := p.negation()
		return &node{op: "not", pos: pos, args: []*node{n}}, err
	}
	return p.test()
}

func (p *parser) test() (*node, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	t := p.tokens[0]
	for _, op := range []string{"=", "!=", "<=", ">=", "<", ">"} {
		if t.kind == symbol && p.is(op) {
			right, err := p.operand()
			return &node{op: op, pos: t.pos, args: []*node{left, right}}, err
		}
	}
	if p.is("is") {
		not := p.is("not")
		if !p.is("null") {
			return nil, fail(p.tokens[0].pos, "NULL is expected behind IS")
		}
		return &node{op: "null", pos: t.pos, args: []*node{left}, not: not}, nil
	}
	not := p.is("not")
	switch {
	case p.is("in"):
		return p.list(left, t.pos, not)
	case p.is("like"):
		right, err := p.operand()
		if err == nil && (right.op != "literal" || right.lit.kind != str) {
			return nil, fail(right.pos, "a text in single quotes is expected behind LIKE")
		}
		return &node{op: "like", pos: t.pos, args: []*node{left, right}, not: not}, err
	case not:
		return nil, fail(p.tokens[0].pos, "IN or LIKE is expected behind NOT")
	}
	return left, nil
}

func (p *parser) list(left *node, pos int, not bool) (*node, error) {
	if !p.is("(") {
		return nil, fail(p.tokens[0].pos, "( is expected behind IN")
	}
	n := &node{op: "in", pos: pos, args: []*node{left}, not: not}
	for {
		v, err := p.operand()
		if err != nil {
			return nil, err
		}
		if v.op != "literal" {
			return nil, fail(v.pos, "IN takes constants only")
		}
		n.args = append(n.args, v)
		if p.is(")") {
			return n, nil
		}
		if !p.is(",") {
			return nil, fail(p.tokens[0].pos, ", or ) is expected")
		}
	}
}

// keywords can't be names unless they are quoted.
var keywords = map[string]bool{"and": true, "or": true, "not": true, "is": true, "in": true, "like": true}

func (p *parser) operand() (*node, error) {
	if p.is("(") {
		n, err := p.or()
		if err == nil && !p.is(")") {
			return nil, fail(p.tokens[0].pos, ") is missing")
		}
		return n, err
	}
	t := p.next()
	constant := func(k kind, text string) (*node, error) {
		return &node{op: "literal", pos: t.pos, lit: literal{k, text}}, nil
	}
	lower := strings.ToLower(t.text)
	switch {
	case t.kind == number || t.kind == str:
		return constant(t.kind, t.text)
	case t.kind == quotedName:
		return &node{op: "column", pos: t.pos, name: t.text}, nil
	case t.kind == word && (lower == "true" || lower == "false"):
		return constant(word, lower)
	case t.kind == word && lower == "null":
		return constant(end, "")
	case t.kind == word && lower == "op":
		return &node{op: "op", pos: t.pos}, nil
	case t.kind == word && !keywords[lower]:
		return &node{op: "column", pos: t.pos, name: t.text}, nil
	case t.kind == end:
		return nil, fail(t.pos, "the expression ends too early")
	}
	return nil, fail(t.pos, "a column, a constant or ( is expected, not %q", t.text)
}
