package gtid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Flavor says whose ids these are.
type Flavor uint8

// The flavours of transaction ids.
const (
	MySQL   Flavor = iota + 1 // source uuid, optional tag, number
	MariaDB                   // domain, server, sequence number
)

// String returns "mysql" or "mariadb".
func (f Flavor) String() string {
	switch f {
	case MySQL:
		return "mysql"
	case MariaDB:
		return "mariadb"
	}
	return "unknown"
}

// ErrSyntax is wrapped by the errors of Parse and ParseID.
var ErrSyntax = errors.New("not a GTID")

// numberMax is the largest number that MySQL gives a transaction: 2^63 - 2.
const numberMax = 1<<63 - 2

// tagBytesMax is the longest tag that MySQL 8.4 allows.
const tagBytesMax = 32

// ID is one transaction's id. The zero ID is none.
type ID struct {
	Flavor Flavor
	Source [16]byte // MySQL: the uuid of the server that committed first
	Tag    string   // MySQL: lower case, or empty
	Domain uint32   // MariaDB
	Server uint32   // MariaDB
	Number uint64   // MySQL's transaction number, MariaDB's sequence number
}

// IsZero reports whether the id is none.
func (id ID) IsZero() bool { return id.Flavor == 0 }

// Append appends the id's text: "uuid:5", "uuid:tag:5" or "0-1-5".
func (id ID) Append(dst []byte) []byte {
	switch id.Flavor {
	case MySQL:
		dst = append(appendUUID(dst, id.Source), ':')
		if id.Tag != "" {
			dst = append(append(dst, id.Tag...), ':')
		}
	case MariaDB:
		dst = append(strconv.AppendUint(dst, uint64(id.Domain), 10), '-')
		dst = append(strconv.AppendUint(dst, uint64(id.Server), 10), '-')
	default:
		return dst
	}
	return strconv.AppendUint(dst, id.Number, 10)
}

// String returns the id's text.
func (id ID) String() string { return string(id.Append(nil)) }

// ParseID reads one id. The error wraps ErrSyntax.
func ParseID(f Flavor, text string) (ID, error) {
	s, err := Parse(f, text)
	if err != nil {
		return ID{}, err
	}
	bad := fmt.Errorf("%w: %q names other than one transaction", ErrSyntax, text)
	switch {
	case len(s.domains) == 1:
		for d, l := range s.domains {
			return ID{Flavor: MariaDB, Domain: d, Server: l.server, Number: l.number}, nil
		}
	case len(s.sources) == 1:
		for k, v := range s.sources {
			if len(*v) == 1 && (*v)[0].end == (*v)[0].start+1 {
				return ID{Flavor: MySQL, Source: k.source, Tag: k.tag, Number: (*v)[0].start}, nil
			}
		}
	}
	return ID{}, bad
}

// appendUUID appends a uuid as text, in lower case with dashes.
func appendUUID(dst []byte, u [16]byte) []byte {
	for i, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// parseUUID reads a uuid, with or without its dashes, in either case.
func parseUUID(text string) (u [16]byte, ok bool) {
	if len(text) == 36 {
		for _, i := range []int{8, 13, 18, 23} {
			if text[i] != '-' {
				return u, false
			}
		}
		text = strings.ReplaceAll(text, "-", "")
	}
	if len(text) != 32 {
		return u, false
	}
	_, err := hex.Decode(u[:], []byte(text))
	return u, err == nil
}

// parseTag normalises a tag as the server does: spaces cut, lower case.
func parseTag(text string) (tag string, ok bool) {
	tag = strings.ToLower(strings.TrimSpace(text))
	if tag == "" || len(tag) > tagBytesMax {
		return "", false
	}
	for i := range len(tag) {
		c := tag[i]
		letter := c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return "", false
		}
	}
	return tag, true
}

// parseNumber reads a number from 1 to numberMax.
func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 1 && n <= numberMax
}
