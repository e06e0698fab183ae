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

// Context is what a body says beside the row itself.
type Context struct {
	Pipeline string
	Source   string // kind of source: "mysql", "mariadb"
}

// Kind is a format by its name in the configuration.
type Kind struct {
	Name string
	New  func() Format
}
