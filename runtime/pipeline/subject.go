package pipeline

import (
	"bytes"
	"strings"

	"github.com/cdcd-io/cdcd/runtime/sink/subject"
	"github.com/cdcd-io/cdcd/sdk"
)

// subjects makes the subjects of a pipeline's messages.
type subjects struct {
	template *subject.Template
	pipeline string
	control  string
	root     string // what the subjects of all messages begin with, "cdc.shop."
}

func newSubjects(t *subject.Template, pipeline string) subjects {
	control := t.Control(pipeline)
	return subjects{template: t, pipeline: pipeline, control: control,
		root: control[:strings.LastIndexByte(control, '.')+1]}
}

// table returns the subject of a table's rows.
func (s *subjects) table(t *sdk.Schema) string {
	return string(s.template.Append(nil, s.pipeline, t.DB, t.Table))
}

// appendRouted appends the subject of a row that a connector gave tokens of
// its own: they stand behind the pipeline's root.
func (s *subjects) appendRouted(dst, tokens []byte) []byte {
	dst = append(dst, s.root...)
	for {
		token, rest, more := bytes.Cut(tokens, []byte("."))
		dst = subject.AppendToken(dst, string(token))
		if !more {
			return dst
		}
		dst, tokens = append(dst, '.'), rest
	}
}
