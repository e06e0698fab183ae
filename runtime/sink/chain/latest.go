package chain

import (
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// A stream that keeps the last messages of each subject alone, as a bucket of
// keys does, has the chain as well. What differs:
//
//   - The stream's last message is always there: a message is only removed by a
//     later one of the same subject, and behind the last there is none. But any
//     message before it may be gone, so each carries its own base, and an anchor is
//     one read.
//   - Messages missing from the middle are what the stream is for, and no gaps.
//   - The last message is missing only if somebody purged, or it expired. Without
//     expiry that is a fault even where the checkpoint names it, since the rows
//     went with it.
//   - A message without a body says that its key is gone.

// operationDelete is what the header KV-Operation has of a key that is gone.
const operationDelete = "DEL"

// operation is the value of the header KV-Operation.
func (c *Chain) operation(m *sink.Message) string {
	if c.cfg.Latest && len(m.Body) == 0 && (m.Kind == sink.KindData || m.Kind == sink.KindSwept) {
		return operationDelete
	}
	return ""
}

// purged reports whether a last message that is gone can only have been purged.
func (c *Chain) purged() bool { return c.cfg.Latest && !c.cfg.Expires }

// overtaken takes a last message that is gone for one that was replaced between
// the question which it is and the question what it says. Where another one is
// gone each time, somebody writes who is faster, which is a lost race. The same
// one being gone for so long that an answer would have come says that it is.
func (r *retry) overtaken(err error, last uint64) error {
	cfg := &r.c.cfg
	if !cfg.Latest || !fault.HasCode(err, sink.CodeAnchorGone) {
		r.gone = 0
		return err
	}
	before := r.gone
	switch {
	case before != last:
		r.gone, r.goneSince = last, cfg.Now()
		if before != 0 {
			return fmt.Errorf("%w: it was replaced before it was read", ErrWrongLast)
		}
	case cfg.Now().Sub(r.goneSince) >= cfg.AckTimeout:
		return err
	}
	return errors.New("the stream's last message seems to be gone")
}
