package chain

import (
	"bytes"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// headerBytesMax is what the protocol's own headers may take beside base and
// place, names and the broker's expectation included.
const headerBytesMax = 512

// Checker finds what a broker would refuse.
type Checker struct {
	Pipeline string
	BytesMax int  // of headers and body
	Latest   bool // a bucket's own headers are reserved, too
	Claims   bool // bodies that are too large can be put elsewhere, if it is configured
}

// Check returns a fault of class Poison for the first message of the group that
// would be refused, before anything of the group is sent.
func (c *Checker) Check(g *sink.Group) error {
	for i := range g.Messages {
		m := &g.Messages[i]
		if m.KeyHeader {
			if err := c.checkKey(g, m); err != nil {
				return err
			}
		}
		if size := sizeOf(g, m); size > c.BytesMax {
			choice := "dead_letter"
			if c.Claims {
				choice = "claim_check or dead_letter"
			}
			return fault.New(fault.Poison, sink.CodeMessageTooLarge, c.place(g, m),
				"raise max_payload of the NATS server; set on_too_large: "+choice+" in the sink; or null the large column with the step mask",
				"a message for %s has %d bytes with its headers, the server takes %d", m.Subject, size, c.BytesMax)
		}
		if len(m.Headers) > 0 {
			if err := c.checkHeaders(g, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// Fits reports whether the stream takes the message, as Publish checks it.
func (c *Chain) Fits(g *sink.Group, m *sink.Message) bool {
	return sizeOf(g, m) <= c.log.MessageBytesMax()
}

// sizeOf returns the most that a message takes in headers and body.
func sizeOf(g *sink.Group, m *sink.Message) int {
	size := len(m.Body) + len(m.Headers) + headerBytesMax + len(g.Base) + len(m.Place.Tx) + len(m.Original)
	if m.KeyHeader {
		size += len(m.Key)
	}
	if cl := m.Claim; cl != nil {
		size += len(cl.Bucket) + len(cl.Name) + len(cl.Digest)
	}
	return size
}

func (c *Checker) checkHeaders(g *sink.Group, m *sink.Message) error {
	for line := range bytes.Lines(m.Headers) {
		name, _, ok := strings.Cut(string(line), ":")
		if !ok || name == "" || c.reserved(name) ||
			strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fault.New(fault.Poison, sink.CodeHeaderReserved, c.place(g, m),
				"let the connector name its headers with printable ASCII, and not Nats-…, Cdc-… or, for a bucket, KV-…",
				"a connector asked for the header %q", strings.TrimSpace(string(line)))
		}
	}
	return nil
}

// checkKey finds a key that no header can carry: they are lines, whose spaces at
// either end are lost.
func (c *Checker) checkKey(g *sink.Group, m *sink.Message) error {
	if !bytes.ContainsAny(m.Key, "\r\n\x00") && len(bytes.TrimSpace(m.Key)) == len(m.Key) {
		return nil
	}
	return fault.New(fault.Poison, sink.CodeHeaderReserved, c.place(g, m),
		"let the connector give keys of one line, without spaces around it",
		"the message key %.100q can't be the header %v", m.Key, HeaderKey)
}

func (c *Checker) place(g *sink.Group, m *sink.Message) string {
	if m.Place.Tx == "" {
		return c.Pipeline + " at " + string(g.Base)
	}
	return c.Pipeline + " at " + m.Place.String()
}

// reserved reports whether a header is the protocol's or the broker's own.
func (c *Checker) reserved(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "cdc-") || c.Latest && strings.HasPrefix(lower, "kv-")
}
