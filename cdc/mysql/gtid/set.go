package gtid

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Set is a set of transactions. For MySQL it is exactly that: intervals of
// numbers for each source and tag. For MariaDB it is a position: the last id
// of each replication domain, which stands for all before it in the domain.
//
// A Set is not safe for concurrent use.
type Set struct {
	flavor  Flavor
	sources map[sourceKey]*[]interval // MySQL
	domains map[uint32]last           // MariaDB
}

type sourceKey struct {
	source [16]byte
	tag    string
}

// interval is half-open, as on the wire: start is in it, end is not.
type interval struct{ start, end uint64 }

type last struct {
	server uint32
	number uint64
}

// New returns an empty set.
func New(f Flavor) *Set {
	return &Set{flavor: f, sources: map[sourceKey]*[]interval{}, domains: map[uint32]last{}}
}

// Flavor returns whose ids the set holds.
func (s *Set) Flavor() Flavor { return s.flavor }

// IsEmpty reports whether nothing is in the set.
func (s *Set) IsEmpty() bool { return len(s.sources) == 0 && len(s.domains) == 0 }

// Parse reads a set as the servers print it, such as
// "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:11:tag:7-9" or "0-1-100,1-2-5".
// White space and case don't matter. The error wraps ErrSyntax.
func Parse(f Flavor, text string) (*Set, error) {
	s := New(f)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		ok := false
		switch f {
		case MySQL:
			ok = s.parseSource(part)
		case MariaDB:
			ok = s.parseDomain(part)
		}
		if !ok {
			return nil, fmt.Errorf("%w of %v: %.100q", ErrSyntax, f, part)
		}
	}
	return s, nil
}

// parseSource reads "uuid:interval...:tag:interval...".
func (s *Set) parseSource(text string) bool {
	head, rest, found := strings.Cut(text, ":")
	u, ok := parseUUID(strings.TrimSpace(head))
	if !ok || !found {
		return false
	}
	key, pending := sourceKey{source: u}, true // pending: a number must follow
	for item := range strings.SplitSeq(rest, ":") {
		from, to, isRange := strings.Cut(item, "-")
		start, ok := parseNumber(from)
		if !ok {
			tag, isTag := parseTag(item)
			if !isTag || pending && key.tag != "" {
				return false
			}
			key.tag, pending = tag, true
			continue
		}
		end := start
		if isRange {
			if end, ok = parseNumber(to); !ok || end < start {
				return false
			}
		}
		s.addRange(key, interval{start, end + 1})
		pending = false
	}
	return !pending
}

func (s *Set) parseDomain(text string) bool {
	var n [3]uint64
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return false
	}
	for i, bits := range []int{32, 32, 64} {
		v, err := strconv.ParseUint(strings.TrimSpace(parts[i]), 10, bits)
		if err != nil {
			return false
		}
		n[i] = v
	}
	domain := uint32(n[0])
	if _, twice := s.domains[domain]; twice {
		return false
	}
	s.domains[domain] = last{uint32(n[1]), n[2]}
	return true
}

// Add puts a transaction into the set. For MariaDB it becomes its domain's
// last one, whatever was there: the order of the log is what counts.
func (s *Set) Add(id ID) {
	if id.Flavor == MariaDB {
		s.domains[id.Domain] = last{id.Server, id.Number}
		return
	}
	s.addRange(sourceKey{id.Source, id.Tag}, interval{id.Number, id.Number + 1})
}

func (s *Set) addRange(key sourceKey, n interval) {
	v := s.sources[key]
	if v == nil {
		v = &[]interval{}
		s.sources[key] = v
	}
	list := *v
	if l := len(list); l > 0 && list[l-1].end == n.start { // the usual case
		list[l-1].end = n.end
		return
	}
	// Everything that touches n melts into it.
	i, _ := slices.BinarySearchFunc(list, n.start, func(e interval, at uint64) int { return cmp.Compare(e.end, at) })
	j := i
	for j < len(list) && list[j].start <= n.end {
		n.start, n.end = min(n.start, list[j].start), max(n.end, list[j].end)
		j++
	}
	*v = slices.Replace(list, i, j, n)
}

// Remove takes a transaction out of a set of MySQL.
func (s *Set) Remove(id ID) {
	list := s.sources[sourceKey{id.Source, id.Tag}]
	if list == nil {
		return
	}
	i := slices.IndexFunc(*list, func(n interval) bool { return n.start <= id.Number && id.Number < n.end })
	if i < 0 {
		return
	}
	n := (*list)[i]
	var rest []interval
	for _, part := range []interval{{n.start, id.Number}, {id.Number + 1, n.end}} {
		if part.start < part.end {
			rest = append(rest, part)
		}
	}
	if *list = slices.Replace(*list, i, i+1, rest...); len(*list) == 0 {
		delete(s.sources, sourceKey{id.Source, id.Tag})
	}
}

// Last returns the last transaction of a replication domain of MariaDB, or the
// zero ID.
func (s *Set) Last(domain uint32) ID {
	l, ok := s.domains[domain]
	if !ok {
		return ID{}
	}
	return ID{Flavor: MariaDB, Domain: domain, Server: l.server, Number: l.number}
}

// Forget takes a replication domain out of a set of MariaDB.
func (s *Set) Forget(domain uint32) { delete(s.domains, domain) }

// Contains reports whether everything in o is in s.
func (s *Set) Contains(o *Set) bool {
	for d, l := range o.domains {
		if have, ok := s.domains[d]; !ok || have.number < l.number {
			return false
		}
	}
	for key, list := range o.sources {
		v := s.sources[key]
		if v == nil {
			return false
		}
		for _, n := range *list {
			if !within(*v, n) {
				return false
			}
		}
	}
	return true
}

// Minus returns what is in s and not in o. For MariaDB those are the last ids
// of the domains in which o has not come as far.
func (s *Set) Minus(o *Set) *Set {
	left := New(s.flavor)
	for d, l := range s.domains {
		if have, ok := o.domains[d]; !ok || have.number < l.number {
			left.domains[d] = l
		}
	}
	for key, list := range s.sources {
		taken := o.sources[key]
		for _, n := range *list {
			if taken != nil {
				for _, t := range *taken {
					if t.end <= n.start {
						continue
					}
					if t.start >= n.end {
						break
					}
					if t.start > n.start {
						left.addRange(key, interval{n.start, t.start})
					}
					n.start = min(t.end, n.end)
				}
			}
			if n.start < n.end {
				left.addRange(key, n)
			}
		}
	}
	return left
}

// Has reports whether the transaction is in the set.
func (s *Set) Has(id ID) bool {
	if id.Flavor == MariaDB {
		have, ok := s.domains[id.Domain]
		return ok && have.number >= id.Number
	}
	v := s.sources[sourceKey{id.Source, id.Tag}]
	return v != nil && within(*v, interval{id.Number, id.Number + 1})
}

// within reports whether one interval of the list holds all of n.
func within(list []interval, n interval) bool {
	i, _ := slices.BinarySearchFunc(list, n.end, func(e interval, at uint64) int { return cmp.Compare(e.end, at) })
	return i < len(list) && list[i].start <= n.start
}

// Equal reports whether both sets hold the same.
func (s *Set) Equal(o *Set) bool {
	return maps.Equal(s.domains, o.domains) && maps.EqualFunc(s.sources, o.sources,
		func(a, b *[]interval) bool { return slices.Equal(*a, *b) })
}

// Clone returns a copy that shares nothing.
func (s *Set) Clone() *Set {
	c := &Set{flavor: s.flavor, sources: make(map[sourceKey]*[]interval, len(s.sources)), domains: maps.Clone(s.domains)}
	for k, v := range s.sources {
		list := slices.Clone(*v)
		c.sources[k] = &list
	}
	return c
}

// String returns the set as the servers print it, in one order: sources and
// tags ascending, untagged first; domains ascending.
func (s *Set) String() string { return string(s.Append(nil)) }

// Append appends what String returns.
func (s *Set) Append(dst []byte) []byte {
	first := true
	comma := func() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
	}
	for _, d := range slices.Sorted(maps.Keys(s.domains)) {
		comma()
		dst = ID{Flavor: MariaDB, Domain: d, Server: s.domains[d].server, Number: s.domains[d].number}.Append(dst)
	}
	var open [16]byte
	for i, key := range s.keys() {
		if i == 0 || key.source != open {
			comma()
			dst = appendUUID(dst, key.source)
			open = key.source
		}
		if key.tag != "" {
			dst = append(append(dst, ':'), key.tag...)
		}
		for _, n := range *s.sources[key] {
			dst = strconv.AppendUint(append(dst, ':'), n.start, 10)
			if n.end > n.start+1 {
				dst = strconv.AppendUint(append(dst, '-'), n.end-1, 10)
			}
		}
	}
	return dst
}

func (s *Set) keys() []sourceKey {
	return slices.SortedFunc(maps.Keys(s.sources), func(a, b sourceKey) int {
		return cmp.Or(bytes.Compare(a.source[:], b.source[:]), cmp.Compare(a.tag, b.tag))
	})
}

// Encode returns a MySQL set as COM_BINLOG_DUMP_GTID takes it (mysql-server,
// sql/rpl_gtid_set.cc, Gtid_set::encode). The tagged form, which servers since
// 8.3 know, is used only where there are tags.
func (s *Set) Encode() []byte {
	keys, le := s.keys(), binary.LittleEndian
	tagged := slices.ContainsFunc(keys, func(k sourceKey) bool { return k.tag != "" })
	count := uint64(len(keys))
	if tagged {
		// The count moves up one byte; the first and the last byte mark the form.
		count = count<<8 | 1 | 1<<56
	}
	dst := le.AppendUint64(nil, count)
	for _, key := range keys {
		dst = append(dst, key.source[:]...)
		if tagged {
			// A variable-length integer: below 64 it is one byte, shifted by one.
			dst = append(append(dst, byte(len(key.tag)<<1)), key.tag...)
		}
		list := *s.sources[key]
		dst = le.AppendUint64(dst, uint64(len(list)))
		for _, n := range list {
			dst = le.AppendUint64(le.AppendUint64(dst, n.start), n.end)
		}
	}
	return dst
}
