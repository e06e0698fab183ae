package unit

// Choice is one of several kinds with the kind's own options: a message format.
// In the configuration it is the kind's name alone, or the name as a key with the
// options below it: `format: json`, `format: {debezium: {schemas: true}}`.
type Choice struct {
	Kind string
	// Config is what the kind's NewConfig returned, filled from the file; nil for
	// a kind without options, and for a default that nobody has written.
	Config any
}

// String returns the kind's name.
func (c Choice) String() string { return c.Kind }
