package statement

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// XID writes the id of an XA transaction: the format's number, and both parts in
// hexadecimal digits, such as "1:6f72646572:". It is how Statement.Name has it.
func XID(format uint32, gtrid, bqual []byte) string {
	return strconv.FormatUint(uint64(format), 10) + ":" + hex.EncodeToString(gtrid) + ":" + hex.EncodeToString(bqual)
}

// xa reads what follows the word XA.
func (r *reader) xa() Statement {
	kind := Unknown
	switch {
	case r.take("start", "begin"):
		kind = XAStart
	case r.take("end"):
		return Statement{Kind: XAEnd}
	case r.take("commit"):
		kind = XACommit
	case r.take("rollback"):
		kind = XARollback
	default:
		return Statement{}
	}
	id, ok := r.xid()
	if !ok {
		return Statement{}
	}
	return Statement{Kind: kind, Name: id}
}

// xid reads "gtrid[, bqual[, format]]". The servers write both parts as X'...'.
func (r *reader) xid() (string, bool) {
	gtrid, ok := r.bytes()
	if !ok {
		return "", false
	}
	var bqual []byte
	format := uint64(1)
	if r.punct(',') {
		if bqual, ok = r.bytes(); !ok {
			return "", false
		}
		if r.punct(',') {
			text, _ := r.ident()
			var err error
			if format, err = strconv.ParseUint(text, 10, 32); err != nil {
				return "", false
			}
		}
	}
	return XID(uint32(format), gtrid, bqual), true
}

// bytes reads 'text', X'digits' or 0xdigits.
func (r *reader) bytes() ([]byte, bool) {
	if r.t.kind == tokenString {
		v := r.t.text
		r.next()
		return v, true
	}
	word, ok := r.ident()
	if !ok {
		return nil, false
	}
	digits := strings.TrimPrefix(word, "0x")
	if strings.EqualFold(word, "x") && r.t.kind == tokenString {
		digits = string(r.t.text)
		r.next()
	} else if digits == word {
		return nil, false
	}
	v, err := hex.DecodeString(digits)
	return v, err == nil
}
