package oracle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// null is the canonical text of NULL; no generated value reads like it.
const null = "∅"

// shortMax is the length above which a canonical text is kept as its digest.
const shortMax = 160

// kind says how a column's value is written in SQL and in a message body.
type kind uint8

const (
	kindText     kind = iota // numbers, decimals, strings, labels: the text itself
	kindFloat                // shortest decimal text that reads back the same
	kindTime                 // date, time, datetime: "2006-01-02 15:04:05.000000", UTC
	kindJSON                 // keys sorted, no spaces
	kindBytes                // hexadecimal
	kindBit                  // the number
	kindRowCount             // text that does not follow from the version
)

// shorten replaces long texts by their digest, so that a row is never large.
func shorten(text string) string {
	if len(text) <= shortMax {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%d bytes, sha256 %x", len(text), sum[:8])
}

// fromSQL turns a selected cell into canonical text.
func (k kind) fromSQL(cell string) string {
	if cell == "NULL" {
		return null
	}
	switch k {
	case kindFloat:
		return canonFloat(cell)
	case kindTime:
		return canonTime(cell)
	case kindJSON:
		return shorten(canonJSON([]byte(cell)))
	case kindBytes:
		return shorten(strings.ToLower(cell)) // selected by HEX()
	}
	return shorten(cell)
}

// fromBody turns a value of a message body into canonical text. A value of
// another JSON type than any reading of the kind allows comes back as it is,
// and so differs from what is wanted.
func (k kind) fromBody(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return null
	}
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return string(raw)
		}
	}
	switch k {
	case kindFloat:
		return canonFloat(text)
	case kindTime:
		return canonTime(text)
	case kindJSON:
		return shorten(canonJSON([]byte(text)))
	case kindBytes:
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return shorten("not base64: " + text)
		}
		return shorten(hex.EncodeToString(plain))
	}
	return shorten(text)
}

func canonFloat(text string) string {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "not a number: " + text
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func canonTime(text string) string {
	return strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z")
}

func canonJSON(document []byte) string {
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "not JSON: " + string(document)
	}
	sorted, err := json.Marshal(v) // maps come out with sorted keys
	if err != nil {
		return "not JSON: " + err.Error()
	}
	return string(sorted)
}

func formatKey(n uint64) string {
	if n >= largeKeys {
		return fmt.Sprintf("large+%d", n-largeKeys)
	}
	return strconv.FormatUint(n, 10)
}
