package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

// config is what `with:` says.
type config struct {
	Columns []string `json:"columns"` // column or db.table.column
	How     string   `json:"how"`     // sha256 | redact | null | keep_last_N | keep_first_N
	Salt    string   `json:"salt"`    // of sha256: makes it an HMAC
}

// redacted is what redact leaves of a value.
const redacted = "***"

type mask struct {
	config config
	keep   int // characters, of keep_last and keep_first
	hash   hash.Hash
	tables [][]column // by schema id
	text   []byte     // a value's text, reused
	masked []byte     // what becomes of it, reused
}

// column is one column to mask, with its definition before.
type column struct {
	index int
	def   *sdk.Column
}

// Warm implements guest.Warmer: the first use of encoding/json is most of what
// an instance's start takes.
func (m *mask) Warm() {
	sample := mask{}
	_ = sample.Init([]byte(`{"columns":["a"],"how":"sha256","salt":"b"}`))
}

// Init reads the configuration.
func (m *mask) Init(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	m.config = config{How: "sha256"}
	if err := d.Decode(&m.config); err != nil {
		return fmt.Errorf("`with` is not understood: %v; write {columns: [email], how: sha256}", err)
	}
	if len(m.config.Columns) == 0 {
		return fmt.Errorf("columns is empty; name those to mask, as in columns: [email, shop.users.phone]")
	}
	for _, c := range m.config.Columns {
		if n := strings.Count(c, "."); c == "" || n != 0 && n != 2 {
			return fmt.Errorf("columns: %q is neither column nor db.table.column", c)
		}
	}
	if m.config.Salt != "" && m.config.How != "sha256" {
		return fmt.Errorf("salt has a meaning with how: sha256 only")
	}
	m.hash = sha256.New()
	if m.config.Salt != "" {
		m.hash = hmac.New(sha256.New, []byte(m.config.Salt))
	}
	kind, number, _ := cutLast(m.config.How, "_")
	switch n, err := strconv.Atoi(number); {
	case m.config.How == "sha256" || m.config.How == "redact" || m.config.How == "null":
	case (kind == "keep_last" || kind == "keep_first") && err == nil && n >= 1 && n <= 64:
		m.config.How, m.keep = kind, n
	default:
		return fmt.Errorf("how: %q is not known; use sha256, redact, null, keep_last_4 or keep_first_4", m.config.How)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Schema notes which columns of the table are to be masked. They become text.
func (m *mask) Schema(in *sdk.Schema) (*sdk.Schema, error) {
	out := *in
	out.Columns = append([]sdk.Column(nil), in.Columns...)
	var found []column
	for i := range in.Columns {
		if !m.masks(in, in.Columns[i].Name) {
			continue
		}
		found = append(found, column{i, &in.Columns[i]})
		c := &out.Columns[i]
		if m.config.How == "null" {
			for _, k := range in.Key {
				if k == i {
					return nil, fmt.Errorf("%s.%s is part of the table's key and can't be null; mask it with sha256", in.FullName(), c.Name)
				}
			}
			c.Nullable = true
		} else if c.Type != sdk.TypeString {
			*c = sdk.Column{Name: c.Name, Type: sdk.TypeString, Nullable: c.Nullable}
		}
	}
	for len(m.tables) <= int(in.ID) {
		m.tables = append(m.tables, nil)
	}
	m.tables[in.ID] = found
	if found == nil {
		return nil, nil
	}
	return &out, nil
}

func (m *mask) masks(s *sdk.Schema, name string) bool {
	for _, c := range m.config.Columns {
		if c == name || c == s.FullName()+"."+name {
			return true
		}
	}
	return false
}

// Row masks both images of a row.
func (m *mask) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
	columns := m.tables[r.SchemaID()]
	if len(columns) == 0 {
		return sdk.VerdictPass, nil
	}
	edited := false
	for _, image := range [...]sdk.Image{r.After(), r.Before()} {
		if !image.Valid() {
			continue
		}
		for _, c := range columns {
			if !image.Has(c.index) {
				continue
			}
			if err := m.hide(image, c); err != nil {
				return 0, err
			}
			edited = true
		}
	}
	if !edited {
		return sdk.VerdictPass, nil
	}
	return sdk.VerdictEdited, nil
}

// hide masks one value.
func (m *mask) hide(image sdk.Image, c column) error {
	switch m.config.How {
	case "null":
		image.SetNull(c.index)
		return nil
	case "redact":
		m.masked = append(m.masked[:0], redacted...)
		return image.SetBytes(c.index, m.masked)
	}
	if !c.def.Type.Inline() {
		if _, n, large := image.IsLarge(c.index); large {
			return fmt.Errorf("%s has a value of %d bytes, too large to read; mask it with redact or null", c.def.Name, n)
		}
	}
	m.text = image.AppendText(m.text[:0], c.def, c.index)
	switch m.config.How {
	case "sha256":
		m.hash.Reset()
		m.hash.Write(m.text)
		m.text = m.hash.Sum(m.text[:0])
		m.masked = hex.AppendEncode(m.masked[:0], m.text)
	case "keep_last":
		from := len(m.text)
		for n := 0; n < m.keep && from > 0; n++ {
			_, size := utf8.DecodeLastRune(m.text[:from])
			from -= size
		}
		if from == 0 { // nothing would be hidden
			from = len(m.text)
		}
		m.masked = append(append(m.masked[:0], redacted...), m.text[from:]...)
	case "keep_first":
		to := 0
		for n := 0; n < m.keep && to < len(m.text); n++ {
			_, size := utf8.DecodeRune(m.text[to:])
			to += size
		}
		if to == len(m.text) {
			to = 0
		}
		m.masked = append(append(m.masked[:0], m.text[:to]...), redacted...)
	}
	return image.SetBytes(c.index, m.masked)
}

// A module built with -buildmode=c-shared never runs main: see package guest.
var _ = guest.Register(&mask{})

func main() {}
