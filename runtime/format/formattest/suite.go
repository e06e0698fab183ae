package formattest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/sdk"
)

// Suite is one format with its options.
type Suite struct {
	New    func() format.Format
	Name   string // of the golden files: testdata/<name>-changes.txt, -types.txt
	Update bool   // write them anew
	// Value returns the part of a body that holds a row's values, and Type, where
	// it is not nil, that which describes their types: for the golden file of types.
	Value, Type func(body []byte) []byte
}

// At returns a function that returns what JSON has at a path of keys, as it is
// written; of a list, the element that a number names.
func At(path ...string) func(body []byte) []byte {
	return func(body []byte) []byte {
		for _, key := range path {
			var list []json.RawMessage
			if i, err := strconv.Atoi(key); err == nil && json.Unmarshal(body, &list) == nil && i < len(list) {
				body = list[i]
				continue
			}
			var object map[string]json.RawMessage
			if err := json.Unmarshal(body, &object); err != nil {
				return nil
			}
			body = object[key]
		}
		return body
	}
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	t.Run("changes", s.testChanges)
	t.Run("types", s.testTypes)
	t.Run("allocations", s.testAllocations)
	t.Run("large", s.testLarge)
	t.Run("schema", s.testSchema)
	t.Run("random", s.testRandom)
}

// testChanges compares the messages of one change of each kind with the golden
// file.
func (s Suite) testChanges(t *testing.T) {
	var out bytes.Buffer
	for _, c := range s.changes() {
		b := Batch(t, c.table, Transaction(c.tx), c.whole, c.Row)
		for i, m := range Messages(s.New(), b.Row(0)) {
			fmt.Fprintf(&out, "# %s", c.name)
			if i > 0 {
				fmt.Fprintf(&out, ", message %d", i+1)
			}
			fmt.Fprintf(&out, "\nkey  %s\n", m.Key)
			for h := range bytes.Lines(m.Headers) {
				fmt.Fprintf(&out, "head %s", h)
			}
			fmt.Fprintf(&out, "body %s\n", m.Body)
			check(t, c.name, m)
		}
	}
	s.golden(t, "changes.txt", out.Bytes())
}

// check holds of every message: JSON in UTF-8, and headers of one line each.
func check(t *testing.T, name string, m Message) {
	t.Helper()
	for what, text := range map[string][]byte{"body": m.Body, "key": m.Key} {
		if len(text) > 0 && (!json.Valid(text) || !utf8.Valid(text)) {
			t.Errorf("%s: the %s is not JSON: %.500q", name, what, text)
		}
		if bytes.ContainsAny(text, "\n\r") {
			t.Errorf("%s: the %s has more than one line", name, what)
		}
	}
	for h := range bytes.Lines(m.Headers) {
		header, value, ok := strings.Cut(string(h), ": ")
		if !ok || header == "" || !json.Valid([]byte(value)) || !strings.HasSuffix(value, "\n") {
			t.Errorf("%s: header %q", name, h)
		}
	}
}

// testTypes compares the values of the whole matrix of types, nullable and not,
// with the golden file. Long lines are cut there, with what their sum was.
func (s Suite) testTypes(t *testing.T) {
	var out bytes.Buffer
	values := 0
	for _, p := range cdctest.Probes("") {
		fmt.Fprintf(&out, "# %.200s\n", p.Column)
		for i := range p.Values {
			table := ProbeTable(&p)
			v := p.Values[i].Text
			b := Batch(t, table, Transaction(WithGTID), true, Row{Op: sdk.OpInsert, After: []string{"1", v, v}})
			for _, m := range Messages(s.New(), b.Row(0)) {
				check(t, p.Column, m)
				if s.Type != nil && i == 0 {
					fmt.Fprintf(&out, "%s\n", shortened(s.Type(m.Body)))
				}
				fmt.Fprintf(&out, "%s\n", shortened(s.Value(m.Body)))
			}
			values++
		}
	}
	if values < 500 {
		t.Errorf("only %d values", values)
	}
	s.golden(t, "types.txt", out.Bytes())
}

// ProbeTable returns a table with a column of the probe's type that may be NULL,
// and one that may not.
func ProbeTable(p *cdctest.Probe) *sdk.Schema {
	c := sdk.Column{Type: p.Type, Scale: p.Scale(), Native: nativeOf(p)}
	switch p.Type {
	case sdk.TypeBit:
		_, _ = fmt.Sscanf(p.Column, "BIT(%d)", &c.Length)
	case sdk.TypeEnum, sdk.TypeSet:
		c.Labels = labelsOf(p.Column)
	}
	some, never := c, c
	some.Name, some.Nullable, never.Name = "v", true, "n"
	return &sdk.Schema{ID: 1, DB: "d", Table: "t", Key: []int{0},
		Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt, Native: "bigint"}, some, never}}
}

// nativeOf returns the type as a server's catalog names it.
func nativeOf(p *cdctest.Probe) string {
	name := strings.ToLower(p.Column)
	for _, rest := range []string{" character set", " collate", " null", " compressed", " srid", " ref_system_id"} {
		name, _, _ = strings.Cut(name, rest)
	}
	switch {
	case name == "bool":
		return "tinyint(1)"
	case name == "float(53)", name == "double precision":
		return "double"
	case p.Type == sdk.TypeEnum || p.Type == sdk.TypeSet:
		return p.Column[:strings.LastIndex(p.Column, ")")+1]
	}
	return name
}

// labelsOf returns the labels in a definition of ENUM or SET.
func labelsOf(definition string) (labels []string) {
	inside := definition[strings.Index(definition, "(")+1 : strings.LastIndex(definition, ")")]
	for inside != "" {
		label := ""
		for inside = inside[1:]; !strings.HasPrefix(inside, "'") || strings.HasPrefix(inside, "''"); {
			n := 1
			if inside[0] == '\'' {
				n = 2
			}
			label, inside = label+inside[:1], inside[n:]
		}
		labels = append(labels, label)
		inside = strings.TrimPrefix(inside[1:], ",")
	}
	return labels
}

const lineBytesMax = 1000

func shortened(line []byte) []byte {
	if len(line) <= lineBytesMax {
		return line
	}
	return fmt.Appendf(nil, "%s… %d bytes, %x", bytes.ToValidUTF8(line[:200], nil), len(line), sha256.Sum256(line))
}

func (s Suite) golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", s.Name+"-"+name)
	if s.Update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}
