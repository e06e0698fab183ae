package snapshot

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Encode returns the cursor as JSON. Each batch of a copy has one, so it is
// written here, field by field, as encoding/json would write it.
func (c *Cursor) Encode() []byte { return c.append(nil) }

func (c *Cursor) append(dst []byte) []byte {
	o := object{b: append(dst, '{')}
	o.number("n", c.N)
	o.texts("for", c.For)
	c.Work.append(&o)
	o.flag("h", c.Paused)
	if c.Run != nil {
		o.b = appendAny(o.key("run"), c.Run)
	}
	if len(c.Requests) > 0 {
		o.b = append(o.key("req"), '[')
		for i := range c.Requests {
			o.b = append(c.Requests[i].append(o.b), ',')
		}
		o.endList()
	}
	o.number("past", c.Past)
	return append(o.b, '}')
}

func (r *Request) append(dst []byte) []byte {
	o := object{b: append(dst, '{')}
	o.b = strconv.AppendUint(o.key("id"), r.ID, 10)
	if r.Tables == nil {
		o.b = append(o.key("t"), "null"...)
	} else {
		o.list("t", r.Tables)
	}
	o.text("w", r.Where)
	o.texts("c", r.Columns)
	o.flag("h", r.Paused)
	if len(r.Rows) > 0 {
		o.b = append(o.key("n"), '[')
		for _, n := range r.Rows {
			o.b = append(strconv.AppendUint(o.b, n, 10), ',')
		}
		o.endList()
	}
	r.Work.append(&o)
	return append(o.b, '}')
}

func (w *Work) append(o *object) {
	o.flag("b", w.Told)
	o.texts("done", w.Done)
	if len(w.Open) == 0 {
		return
	}
	o.b = append(o.key("open"), '[')
	for i := range w.Open {
		o.b = append(w.Open[i].append(o.b), ',')
	}
	o.endList()
}

func (p *Progress) append(dst []byte) []byte {
	o := object{b: append(dst, '{')}
	o.b = appendText(o.key("t"), p.Table)
	o.text("k", p.Print)
	o.number("n", p.Rows)
	if p.Ranges == nil {
		o.b = append(o.key("r"), "null"...)
		return append(o.b, '}')
	}
	o.b = append(o.key("r"), '[')
	for i := range p.Ranges {
		r := object{b: append(o.b, '{')}
		r.text("a", string(p.Ranges[i].After))
		r.text("u", string(p.Ranges[i].UpTo))
		r.flag("g", p.Ranges[i].Again)
		r.flag("d", p.Ranges[i].Done)
		o.b = append(r.b, '}', ',')
	}
	o.endList()
	return append(o.b, '}')
}

// object is a JSON object that is being written. What is empty is left out.
type object struct {
	b    []byte
	more bool // a field is there
}

// key begins a field: what is appended to what it returns is its value.
func (o *object) key(name string) []byte {
	if o.more {
		o.b = append(o.b, ',')
	}
	o.more = true
	return append(append(append(o.b, '"'), name...), '"', ':')
}

func (o *object) number(name string, n uint64) {
	if n != 0 {
		o.b = strconv.AppendUint(o.key(name), n, 10)
	}
}

func (o *object) flag(name string, on bool) {
	if on {
		o.b = append(o.key(name), "true"...)
	}
}

func (o *object) text(name, s string) {
	if s != "" {
		o.b = appendText(o.key(name), s)
	}
}

func (o *object) texts(name string, list []string) {
	if len(list) > 0 {
		o.list(name, list)
	}
}

func (o *object) list(name string, list []string) {
	o.b = append(o.key(name), '[')
	for _, s := range list {
		o.b = append(appendText(o.b, s), ',')
	}
	o.endList()
}

// endList ends a list, of which each element has a comma behind it.
func (o *object) endList() {
	if last := len(o.b) - 1; o.b[last] == ',' {
		o.b = o.b[:last]
	}
	o.b = append(o.b, ']')
}

// appendText appends a text. Keys and names have nothing to be escaped.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendAny(dst, s)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// appendAny appends what is rare.
func appendAny(dst []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("snapshot: a cursor of texts and numbers did not encode: %v", err))
	}
	return append(dst, text...)
}
