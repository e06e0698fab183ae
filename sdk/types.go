package sdk

// Type says how a column's value is kept in a slot and what it means.
// The numbers are part of cdcd-abi-1: new ones are only ever appended.
type Type uint8

// The types of cdcd-abi-1. "Inline" values live in the slot itself; "heap"
// values are bytes that the slot points to.
const (
	TypeInvalid   Type = iota
	TypeInt            // inline int64
	TypeUint           // inline uint64
	TypeFloat32        // inline: the bits of the value widened to float64
	TypeFloat64        // inline: the bits of a float64
	TypeDecimal        // heap: exact decimal text, such as "-12.340"
	TypeBit            // inline uint64; Column.Length is the number of bits
	TypeYear           // inline uint64: 0 or 1901 to 2155
	TypeDate           // inline, packed by PackDate; zero and partial-zero dates included
	TypeTime           // inline int64: signed microseconds, up to ±838:59:59.999999
	TypeDateTime       // inline, packed by PackDateTime: a civil time without a zone
	TypeTimestamp      // inline int64: microseconds since the Unix epoch, UTC; 0 is MySQL's zero timestamp
	TypeEnum           // heap: the label, UTF-8; "" is MySQL's error value
	TypeSet            // heap: the labels in definition order, separated by commas, UTF-8
	TypeString         // heap: UTF-8
	TypeBytes          // heap: raw bytes
	TypeJSON           // heap: the document as the server prints it
	TypeGeometry       // heap: SRID as little-endian uint32, then WKB
	TypeVector         // heap: little-endian float32 elements
	TypeUUID           // heap: canonical text
	TypeInet           // heap: text of an IPv4 or IPv6 address
	typeEnd
)

var typeNames = [...]string{
	"invalid", "int", "uint", "float32", "float64", "decimal", "bit", "year",
	"date", "time", "datetime", "timestamp", "enum", "set", "string", "bytes",
	"json", "geometry", "vector", "uuid", "inet",
}

// String returns the type's name as schema messages print it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "invalid"
}

// Valid reports whether t is a type of cdcd-abi-1.
func (t Type) Valid() bool { return t > TypeInvalid && t < typeEnd }

// Inline reports whether values of the type live in the slot itself.
func (t Type) Inline() bool {
	switch t {
	case TypeInt, TypeUint, TypeFloat32, TypeFloat64, TypeBit, TypeYear,
		TypeDate, TypeTime, TypeDateTime, TypeTimestamp:
		return true
	}
	return false
}

// Op is what happened to a row.
type Op uint8

// The operations of cdcd-abi-1.
const (
	OpInvalid Op = iota
	OpInsert
	OpUpdate
	OpDelete
	OpRead     // the row was read by a snapshot
	OpTruncate // the table was emptied; the row has no image
)

// Letter returns the one-letter code of Debezium's envelope: c, u, d, r or t.
func (o Op) Letter() byte {
	const letters = "?cudrt"
	if int(o) < len(letters) {
		return letters[o]
	}
	return '?'
}

// Position is a source's own note of how far it has read: opaque, printable
// text to everyone but the source that made it.
type Position string

// Verdict is what a connector decided about one row.
type Verdict uint8

// The verdicts of cdcd-abi-1.
const (
	VerdictPass       Verdict = iota // unchanged
	VerdictDrop                      // left out
	VerdictEdited                    // changed in place, in the batch that was given
	VerdictReplaced                  // replaced by the rows of the output batch that name it as their source
	VerdictDeadLetter                // refused with a reason; the pipeline's on_error decides
)
