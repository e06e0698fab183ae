package sdk

import "strings"

const keyHex = "0123456789ABCDEF"

// AppendKeyToken appends a value as one token of a row's key in a bucket:
// letters, digits, '-', '_' and '/' as they are, every other byte as '=' and two
// hexadecimal digits, and the empty value as "=" alone. Different values give
// different tokens, whatever bytes they have.
func AppendKeyToken(dst []byte, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, '=')
	}
	for _, c := range value {
		if plainInKey(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', keyHex[c>>4], keyHex[c&15])
		}
	}
	return dst
}

func plainInKey(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '/'
}

// AppendKeyTable appends what the keys of a table's rows begin with, the dot
// behind it included: "shop.orders.". A database whose name begins with an
// underscore has that escaped, since keys that begin with _kv are the broker's.
func AppendKeyTable(dst []byte, db, table string) []byte {
	rest, escaped := strings.CutPrefix(db, "_")
	if escaped {
		dst = append(dst, "=5F"...)
	}
	if rest != "" || !escaped {
		dst = AppendKeyToken(dst, []byte(rest))
	}
	dst = AppendKeyToken(append(dst, '.'), []byte(table))
	return append(dst, '.')
}

// ParseKeyToken returns the value that a token stands for; false for what no
// value is written as.
func ParseKeyToken(token string) (value string, ok bool) {
	if token == "=" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if c := token[i]; c != '=' {
			if !plainInKey(c) {
				return "", false
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(token) {
			return "", false
		}
		hi, lo := strings.IndexByte(keyHex, token[i+1]), strings.IndexByte(keyHex, token[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), token != ""
}
