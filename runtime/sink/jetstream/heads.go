package jetstream

import (
	"bytes"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// heads keeps a header map for each combination of headers that a message can
// have. The maps share their value slices, so that a message costs as many
// assignments as it has headers, and no map is built.
type heads struct {
	values [chain.HeaderCount][]string
	expect []string
	maps   map[uint32]nats.Header
}

// of returns the headers of a message, good until the next call.
func (h *heads) of(m *chain.Outgoing, expect string) nats.Header {
	if h.maps == nil {
		h.maps = map[uint32]nats.Header{}
		h.expect = make([]string, 1)
		for i := range h.values {
			h.values[i] = make([]string, 1)
		}
	}
	h.expect[0] = expect
	shape := uint32(0)
	for i := range m.Values {
		if m.Values[i] != "" {
			h.values[i][0] = m.Values[i]
			shape |= 1 << i
		}
	}
	head, ok := h.maps[shape]
	if !ok {
		head = h.build(shape)
		h.maps[shape] = head
	}
	if len(m.Extra) > 0 {
		return h.withExtra(shape, m.Extra)
	}
	return head
}

func (h *heads) build(shape uint32) nats.Header {
	head := nats.Header{expectHeader: h.expect}
	for i := range h.values {
		if shape&(1<<i) != 0 {
			head[chain.Header(i).String()] = h.values[i]
		}
	}
	return head
}

// withExtra adds the lines that a connector asked for; chain has checked them.
func (h *heads) withExtra(shape uint32, lines []byte) nats.Header {
	head := h.build(shape)
	for line := range bytes.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		head[name] = append(head[name], strings.TrimSpace(value))
	}
	return head
}
