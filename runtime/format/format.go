package format

import "github.com/cdcd-io/cdcd/sdk"

// Format renders rows as message bodies. A Format is used by one goroutine.
type Format interface {
	// AppendRow appends the body of one row's message to dst. It allocates
	// nothing once it has seen the row's schema.
	// The body is a pure function of its arguments: no clock, so that a row that
	// is read again gives the same message again. ts_ms is the commit time.
	AppendRow(dst []byte, r sdk.Row, c Context) []byte
}

// Parted is what a Format has whose rows may give several messages, or none:
// Debezium's delete with the tombstone behind it. Such a format is asked for the
// parts, in their order, and neither for AppendRow nor as a Keyer. What a part is
// made of is as pure a function as AppendRow's body.
type Parted interface {
	// Parts returns how many messages the row gives.
	Parts(r sdk.Row) int
	// AppendPart appends the body of the row's message i. It may append nothing:
	// a message without a body is a message, too.
	AppendPart(dst []byte, r sdk.Row, c Context, i int) []byte
	// AppendPartKey appends the key of the row's message i; nothing for a table
	// without a key.
	AppendPartKey(dst []byte, r sdk.Row, c Context, i int) []byte
	// AppendPartHeaders appends lines "Name: value\n", in ASCII names that begin
	// neither with Nats- nor with Cdc-.
	AppendPartHeaders(dst []byte, r sdk.Row, c Context, i int) []byte
}

// Addressed is what a Parted format has whose messages each have a subject of
// their own, whatever the sink's template says.
type Addressed interface {
	// AppendPartSubject appends the subject of the row's message i.
	AppendPartSubject(dst []byte, r sdk.Row, i int) []byte
}

// Refuser is what a Format has that can't say every row. A row that is refused
// halts the pipeline: whatever went out instead would be wrong.
type Refuser interface {
	// Refuse returns why the row can't be said; nil where it can.
	Refuse(r sdk.Row) error
}

// Imager is what a Format has that can render a row as it is, without what
// happened to it: the value that stands under the row's key.
type Imager interface {
	// AppendImage appends an image of r in the form that AppendRow gives it.
	AppendImage(dst []byte, r sdk.Row, m sdk.Image, c Context) []byte
}

// KeySender is what a Format has whose consumers read the message key beside
// the body, as those of a Kafka topic do: a sink with headers sends it as Cdc-Key.
type KeySender interface {
	// SendsKey reports whether this configuration of the format does so.
	SendsKey() bool
}

// Context is what a body says beside the row itself.
type Context struct {
	Pipeline string
	Source   string // kind of source: "mysql", "mariadb"
	// Part is the message's number among those of the row's ordinal: of one row's
	// parts, and of the rows that a step gave for one.
	Part uint32
}

// Kind is a format by its name in the configuration.
type Kind struct {
	Name string
	// NewConfig returns a pointer to the kind's configuration struct, filled with
	// its defaults; a struct without fields for a kind without options. It may have
	// Validate() []*fault.Fault, whose paths are keys within it, and goes into the
	// pipeline's fingerprint as JSON.
	NewConfig func() any
	// New makes a Format of what NewConfig returned; nil stands for the defaults.
	New func(config any) Format
}
