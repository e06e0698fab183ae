package subject

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Default is the template that a sink has unless its configuration says otherwise.
const Default = "cdc.{pipeline}.{db}.{table}"

// CodeTemplate is the code of a fault in a template.
const CodeTemplate = "subject_template"

// control is the token of the subject that control messages go to. A name
// that equals it is escaped, so that no table's subject is the control subject.
const control = "_cdcd"

// Template is a subject with placeholders: {pipeline}, {db} and {table}.
type Template struct {
	text  string
	parts []part
}

// part is literal text, or the placeholder that follows it.
type part struct {
	literal string
	slot    slot
}

type slot uint8

const (
	none slot = iota
	pipeline
	db
	table
)

var slots = [...]string{none: "", pipeline: "pipeline", db: "db", table: "table"}

// Parse reads a template. Its faults have class Config and an empty path.
func Parse(text string) (*Template, error) {
	t := &Template{text: text}
	for rest := text; rest != ""; {
		literal, after, open := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return nil, bad("%q has a } without a {", text)
		}
		p := part{literal: literal}
		rest = ""
		if open {
			name, tail, closed := strings.Cut(after, "}")
			if !closed {
				return nil, bad("%q has a { without a }", text)
			}
			i := slices.Index(slots[1:], name)
			if i < 0 {
				return nil, bad("%q names {%s}, which is unknown", text, name)
			}
			p.slot, rest = slot(i+1), tail
		}
		t.parts = append(t.parts, p)
	}
	return t, t.check()
}

func (t *Template) check() error {
	tokens := strings.Split(t.text, ".")
	for _, token := range tokens {
		switch {
		case token == "":
			return bad("%q has an empty token", t.text)
		case strings.ContainsAny(token, " *>%$") || strings.ContainsFunc(token, isControl):
			return bad("%q has a character in %q that a subject may not have", t.text, token)
		case token == control:
			return bad("%q uses the token %s, which is for control messages", t.text, control)
		}
	}
	at := slices.Index(tokens, "{pipeline}")
	first := slices.IndexFunc(tokens, func(s string) bool { return strings.Contains(s, "{db}") || strings.Contains(s, "{table}") })
	if at < 0 || first >= 0 && first < at {
		return bad("%q must have the token {pipeline} before {db} and {table}: each pipeline has a stream of its own", t.text)
	}
	return nil
}

func bad(format string, args ...any) error {
	return fault.New(fault.Config, CodeTemplate, "",
		"write tokens with dots between them, such as "+Default+"; placeholders are {pipeline}, {db} and {table}", format, args...)
}

// String returns the template as it was written.
func (t *Template) String() string { return t.text }

// Append appends the subject of a table's messages to dst.
func (t *Template) Append(dst []byte, pipelineName, dbName, tableName string) []byte {
	for _, p := range t.parts {
		dst = append(dst, p.literal...)
		switch p.slot {
		case pipeline:
			dst = AppendToken(dst, pipelineName)
		case db:
			dst = AppendToken(dst, dbName)
		case table:
			dst = AppendToken(dst, tableName)
		}
	}
	return dst
}

// Control returns the subject of a pipeline's control messages: the template
// up to its token {pipeline}, and the token _cdcd behind it.
func (t *Template) Control(pipelineName string) string { return t.root(pipelineName) + "." + control }

// All returns the subject that matches all of a pipeline's messages, control
// messages included.
func (t *Template) All(pipelineName string) string { return t.root(pipelineName) + ".>" }

func (t *Template) root(pipelineName string) string {
	prefix, _, _ := strings.Cut(t.text, "{pipeline}")
	return string(AppendToken([]byte(prefix), pipelineName))
}

const hex = "0123456789ABCDEF"

// AppendToken appends name as one token: a space, '.', '*', '>', '%' and
// control characters in percent form, byte by byte, and the empty name as "%".
// The name "_cdcd" becomes "%5Fcdcd".
func AppendToken(dst []byte, name string) []byte {
	switch name {
	case "":
		return append(dst, '%')
	case control:
		return append(dst, "%5Fcdcd"...)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '%':
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// Name returns the name that a token stands for.
func Name(token string) (string, error) {
	if token == "%" {
		return "", nil
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			b.WriteByte(token[i])
			continue
		}
		if i+2 >= len(token) {
			return "", fmt.Errorf("token %q ends inside a percent form", token)
		}
		hi, lo := strings.IndexByte(hex, token[i+1]), strings.IndexByte(hex, token[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("token %q has %q, which is no percent form", token, token[i:i+3])
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	if token == "" {
		return "", fmt.Errorf("a token is never empty")
	}
	return b.String(), nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
