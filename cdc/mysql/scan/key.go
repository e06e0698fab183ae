package scan

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Key is a place in the order of a table's key: the values of its columns. It is
// of letters, digits and "-_.~" only, and belongs to one definition of the key. An
// empty Key is before all rows (as After), or behind them (as UpTo).
//
// Its form is "k1~" fingerprint ("~" part)...: the fingerprint is eight hex digits
// that stand for names, types, collations and directions of the columns; a part
// begins with its kind.
type Key []byte

// The kinds of a part.
const (
	partInt     = 'i' // signed decimal
	partUint    = 'u' // unsigned decimal
	partDecimal = 'd' // decimal digits, with sign and point
	partFloat   = 'f' // the bits of a float64, 16 hex digits
	partText    = 't' // bytes in the column's own character set, base 64 (URL)
	partBytes   = 'b' // bytes, base 64 (URL)
	partDate    = 'y' // sdk.PackDate or sdk.PackDateTime, decimal
	partStamp   = 's' // microseconds since the Unix epoch, decimal
	partClock   = 'c' // signed microseconds, decimal
	partWord    = 'w' // ASCII text of an address or UUID, base 64 (URL)
)

const (
	keyMagic      = "k1"
	keySeparator  = '~'
	keyPartsMax   = 32 // MySQL allows 16, MariaDB 32
	keyPrintBytes = 4
)

// errKey is wrapped by what parseKey returns.
var errKey = errors.New("not a snapshot's key")

// part is one decoded value of a key.
type part struct {
	kind byte
	num  uint64 // of the numeric kinds, signed ones included
	text []byte // of the others
}

// appendPart appends a part of a key.
func appendPart(dst []byte, p part) []byte {
	switch p.kind {
	case partDecimal:
		return append(append(dst, keySeparator, p.kind), p.text...)
	case partText, partBytes, partWord:
		return base64.RawURLEncoding.AppendEncode(append(dst, keySeparator, p.kind), p.text)
	}
	return appendNumber(dst, p.kind, p.num)
}

// appendNumber appends a part of one of the numeric kinds.
func appendNumber(dst []byte, kind byte, v uint64) []byte {
	dst = append(dst, keySeparator, kind)
	switch kind {
	case partUint, partDate:
		return strconv.AppendUint(dst, v, 10)
	case partFloat:
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], v)
		return hex.AppendEncode(dst, b[:])
	}
	return strconv.AppendInt(dst, int64(v), 10)
}

// parseKey reads a key. It trusts nothing; what it returns encodes to the same
// bytes. The error wraps errKey.
func parseKey(k Key) (print string, parts []part, err error) {
	fields := bytes.SplitN(k, []byte{keySeparator}, keyPartsMax+3)
	if len(fields) < 3 || len(fields) > keyPartsMax+2 || string(fields[0]) != keyMagic || len(fields[1]) != 2*keyPrintBytes {
		return "", nil, errKey
	}
	if _, err := hex.DecodeString(string(fields[1])); err != nil || !bytes.Equal(fields[1], bytes.ToLower(fields[1])) {
		return "", nil, errKey
	}
	for _, f := range fields[2:] {
		p, ok := parsePart(f)
		if !ok {
			return "", nil, errKey
		}
		parts = append(parts, p)
	}
	again := append([]byte(keyMagic+string(keySeparator)), fields[1]...)
	for _, p := range parts {
		again = appendPart(again, p)
	}
	if !bytes.Equal(again, k) { // one value has one form
		return "", nil, errKey
	}
	return string(fields[1]), parts, nil
}

func parsePart(f []byte) (p part, ok bool) {
	if len(f) == 0 {
		return p, false
	}
	p.kind, f = f[0], f[1:]
	var err error
	switch p.kind {
	case partInt, partStamp, partClock:
		var n int64
		n, err = strconv.ParseInt(string(f), 10, 64)
		p.num = uint64(n)
	case partUint, partDate:
		p.num, err = strconv.ParseUint(string(f), 10, 64)
	case partFloat:
		if len(f) != 16 {
			return p, false
		}
		p.num, err = strconv.ParseUint(string(f), 16, 64)
		if v := math.Float64frombits(p.num); math.IsNaN(v) || math.IsInf(v, 0) {
			return p, false
		}
	case partDecimal:
		p.text = f
		return p, isDecimal(f)
	case partText, partBytes, partWord:
		p.text, err = base64.RawURLEncoding.Strict().DecodeString(string(f))
		if p.kind == partWord && !isWord(p.text) {
			return p, false
		}
	default:
		return p, false
	}
	return p, err == nil
}

// isDecimal reports whether v is an exact number as servers print it.
func isDecimal(v []byte) bool {
	if len(v) > 0 && v[0] == '-' {
		v = v[1:]
	}
	whole, rest, point := bytes.Cut(v, []byte{'.'})
	digits := func(d []byte) bool {
		return len(d) > 0 && len(d) <= 65 && len(bytes.Trim(d, "0123456789")) == 0
	}
	return digits(whole) && (!point || digits(rest))
}

// isWord reports whether v can be an address or a UUID.
func isWord(v []byte) bool {
	return len(v) > 0 && len(v) <= 64 && len(bytes.Trim(v, "0123456789abcdefABCDEF.:-")) == 0
}

// fingerprint stands for the definition of the key.
func (t *Table) fingerprint() string {
	h := sha256.New()
	for _, k := range t.key {
		for _, text := range []string{k.name, k.native, k.charset, k.collation, strconv.FormatBool(k.desc)} {
			_, _ = h.Write(append([]byte(text), 0)) // a hash takes all
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:keyPrintBytes])
}

// decode reads a key of this table. Fault: snapshot_key_stale.
func (t *Table) decode(k Key) ([]part, error) {
	print, parts, err := parseKey(k)
	if err == nil && (print != t.print || len(parts) != len(t.key)) {
		err = errors.New("it is of another definition of the table's key")
	}
	for i := range parts {
		if err == nil && parts[i].kind != t.key[i].kind {
			err = errors.New("a value is not of its column's type")
		}
	}
	if err != nil {
		return nil, fault.New(fault.Fatal, CodeKeyStale, t.FullName(), "take the snapshot of the table anew",
			"the snapshot can't go on behind key %.200q: %w", string(k), err)
	}
	return parts, nil
}
