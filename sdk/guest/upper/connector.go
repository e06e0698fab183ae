package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

// config is what `with:` says.
type config struct {
	Column   string  `json:"column"`    // whose letters become upper case
	Drop     *string `json:"drop"`      // rows with this value are left out
	BytesMax uint32  `json:"bytes_max"` // rows with a longer value are refused; 0: none are
}

type upper struct {
	with  config
	kept  []int  // index of the column and 1, by schema id
	value []byte // reused
}

// Init reads the configuration.
func (u *upper) Init(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&u.with); err != nil {
		return fmt.Errorf("%v: it is not understood; write {column: name, drop: text, bytes_max: number}", err)
	}
	if u.with.Column == "" {
		return fmt.Errorf("column is missing; name the one to make upper case, as in {column: name}")
	}
	return nil
}

// Schema looks for the column.
func (u *upper) Schema(in *sdk.Schema) (*sdk.Schema, error) {
	for len(u.kept) <= int(in.ID) {
		u.kept = append(u.kept, 0)
	}
	c := in.Column(u.with.Column)
	if c >= 0 && in.Columns[c].Type != sdk.TypeString {
		return nil, fmt.Errorf("%s.%s is not a string; name a column that is one", in.FullName(), u.with.Column)
	}
	u.kept[in.ID] = c + 1
	return nil, nil
}

// Row decides about a row by both of its images.
func (u *upper) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
	c := u.kept[r.SchemaID()] - 1
	if c < 0 {
		return sdk.VerdictPass, nil
	}
	after, err := u.image(r.After(), c, out)
	if err != nil || after != sdk.VerdictPass && after != sdk.VerdictEdited {
		return after, err
	}
	before, err := u.image(r.Before(), c, out)
	if before == sdk.VerdictPass {
		before = after
	}
	return before, err
}

// image is the verdict about one image.
func (u *upper) image(m sdk.Image, c int, out *guest.Output) (sdk.Verdict, error) {
	if !m.Valid() || !m.Has(c) {
		return sdk.VerdictPass, nil
	}
	if _, n, large := m.IsLarge(c); large {
		out.Refuse(fmt.Sprintf("%s has %d bytes, too many to read", u.with.Column, n))
		return sdk.VerdictDeadLetter, nil
	}
	v := m.Bytes(c)
	if u.with.Drop != nil && string(v) == *u.with.Drop {
		return sdk.VerdictDrop, nil
	}
	if u.with.BytesMax > 0 && len(v) > int(u.with.BytesMax) {
		out.Refuse(fmt.Sprintf("%s has %d bytes, more than %d", u.with.Column, len(v), u.with.BytesMax))
		return sdk.VerdictDeadLetter, nil
	}
	at := 0
	for at < len(v) && !lower(v[at]) {
		at++
	}
	if at == len(v) {
		return sdk.VerdictPass, nil
	}
	u.value = append(u.value[:0], v...)
	for i, b := range u.value {
		if lower(b) {
			u.value[i] = b - 32
		}
	}
	return sdk.VerdictEdited, m.SetBytes(c, u.value)
}

func lower(b byte) bool { return b >= 'a' && b <= 'z' }

var _ = guest.Register(&upper{})

func main() {}
