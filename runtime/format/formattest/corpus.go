package formattest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/sdk"
)

// Corpus returns the messages of a file of recorded ones, decoded, numbers as
// json.Number. Without the corpus beside the repository the test is skipped.
func Corpus(t *testing.T, name string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../../shared/corpus/golden", name))
	if err != nil {
		skip.For(t, "the recorded messages %s: clone the corpus beside the repository, as ../shared/corpus", name)
	}
	var all []map[string]any
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("{")) {
			continue // the file's licence
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if len(all) < 20 {
		t.Fatalf("%s has only %d messages", name, len(all))
	}
	return all
}

// CorpusTable returns one of the two tables of the recorded messages. With
// narrow, ENUM and JSON columns are plain strings, which is all that the program
// that recorded them knew of their types; points are strings in any case.
func CorpusTable(name string, more, narrow bool) *sdk.Schema {
	id := sdk.Column{Name: "id", Type: sdk.TypeInt, Native: "int"}
	title := sdk.Column{Name: "name", Type: sdk.TypeString, Native: "varchar(255)"}
	text := func(name string) sdk.Column {
		return sdk.Column{Name: name, Type: sdk.TypeString, Native: "varchar(512)", Nullable: true}
	}
	if name == "customers" {
		return &sdk.Schema{ID: 1, DB: "$databaseName", Table: name, Key: []int{0}, Columns: []sdk.Column{id, title, text("address"), text("phone_number")}}
	}
	s := &sdk.Schema{ID: 2, DB: "$databaseName", Table: name, Key: []int{0}, Columns: []sdk.Column{id, title, text("description"),
		{Name: "weight", Type: sdk.TypeFloat32, Native: "float", Nullable: true}, text("enum_c"), text("json_c"), text("point_c")}}
	if !narrow {
		s.Columns[4].Type, s.Columns[4].Labels, s.Columns[4].Native = sdk.TypeEnum, []string{"red", "white"}, "enum('red','white')"
		s.Columns[5].Type, s.Columns[5].Native = sdk.TypeJSON, "json"
	}
	if more {
		s.ID = 3
		s.Columns = append(s.Columns, sdk.Column{Name: "new_col", Type: sdk.TypeInt, Native: "int", Nullable: true})
	}
	return s
}

// CorpusRow returns the batch of one row that a recorded message is of, given
// the images in it; nil for none.
func CorpusRow(t *testing.T, table string, op sdk.Op, before, after map[string]any, narrow bool) *sdk.Batch {
	t.Helper()
	_, more := before["new_col"]
	if after != nil {
		_, more = after["new_col"]
	}
	s := CorpusTable(table, more, narrow)
	image := func(m map[string]any) (texts []string) {
		for i := range s.Columns {
			switch v := m[s.Columns[i].Name].(type) {
			case nil:
				texts = append(texts, Null)
			case json.Number:
				texts = append(texts, v.String())
			case string:
				texts = append(texts, v)
			}
		}
		return texts
	}
	r := Row{Op: op}
	if before != nil {
		r.Before = image(before)
	}
	if after != nil {
		r.After = image(after)
	}
	return Batch(t, s, Transaction(WithGTID), true, r)
}
