package stream

import (
	"bytes"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// expectHeader makes the server compare the stream's last sequence.
const expectHeader = "Nats-Expected-Last-Sequence"

// The headers of atomic batches.
const (
	batchHeader  = "Nats-Batch-Id"
	numberHeader = "Nats-Batch-Sequence"
	commitHeader = "Nats-Batch-Commit"
)

// batch is where in an atomic batch a message is; its last one commits it.
type batch struct{ id, number string }

// Bits of a shape, above those of chain's headers.
const (
	shapeExpect = 1 << (chain.HeaderCount + iota)
	shapeBatch
	shapeCommit
)

// Heads keeps a header map for each combination of headers that a message can
// have. The maps share their value slices, so that a message costs as many
// assignments as it has headers, and no map is built.
type Heads struct {
	values             [chain.HeaderCount][]string
	expect, id, number []string
	maps               map[uint32]nats.Header
}

// Of returns the headers of a message that expects nothing, good until the next
// call.
func (h *Heads) Of(m *chain.Outgoing) nats.Header {
	m.Shared = true
	return h.of(m, "", nil)
}

// of returns the headers of a message, good until the next call. in is nil for
// a message that is in no atomic batch.
func (h *Heads) of(m *chain.Outgoing, expect string, in *batch) nats.Header {
	if h.maps == nil {
		h.maps = map[uint32]nats.Header{}
		h.expect, h.id, h.number = make([]string, 1), make([]string, 1), make([]string, 1)
		for i := range h.values {
			h.values[i] = make([]string, 1)
		}
	}
	h.expect[0] = expect
	shape := uint32(shapeExpect)
	if m.Shared {
		shape = 0
	}
	if in != nil {
		h.id[0], h.number[0] = in.id, in.number
		if shape = shapeBatch; m.Number == 1 {
			shape |= shapeExpect
		}
		if m.Last {
			shape |= shapeCommit
		}
	}
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

func (h *Heads) build(shape uint32) nats.Header {
	head := nats.Header{}
	for i := range h.values {
		if shape&(1<<i) != 0 {
			head[chain.Header(i).String()] = h.values[i]
		}
	}
	if shape&shapeExpect != 0 {
		head[expectHeader] = h.expect
	}
	if shape&shapeBatch != 0 {
		head[batchHeader], head[numberHeader] = h.id, h.number
	}
	if shape&shapeCommit != 0 {
		head[commitHeader] = []string{"1"}
	}
	return head
}

// withExtra adds the lines that a connector asked for; chain has checked them.
func (h *Heads) withExtra(shape uint32, lines []byte) nats.Header {
	head := h.build(shape)
	for line := range bytes.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		head[name] = append(head[name], strings.TrimSpace(value))
	}
	return head
}
