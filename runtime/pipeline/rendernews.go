package pipeline

import (
	"strconv"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/runtime/format"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// newsMessage returns a group that tells of a copy of tables. Its base is the
// position that goes with the news: who resumes behind the message has it told.
func (r *renderer) newsMessage(b *cdc.Batch) *sink.Group {
	n := b.News
	kind := [...]sink.MessageKind{cdc.SnapshotBegun: sink.KindSnapshotBegin, cdc.SnapshotEnded: sink.KindSnapshotEnd,
		cdc.SnapshotCancelled: sink.KindSnapshotCancelled, cdc.SnapshotFailed: sink.KindSnapshotFailed}[n.Event]
	r.begin(b.End, b.End)
	r.g.Buf = format.AppendSnapshot(r.g.Buf, format.SnapshotBody{Kind: kind.String(), Snapshot: snapshotID(n.Request), Tables: n.Tables,
		Where: n.Where, Columns: n.Columns, Code: n.Code})
	r.controlMessage(kind, r.cut(0))
	return r.finish()
}

// snapshotID is the number of a request as people and services see it.
func snapshotID(request uint64) string {
	if request == 0 {
		return "initial"
	}
	return strconv.FormatUint(request, 36)
}

// between says that a batch lies between two transactions: the anchor's has come
// by, or does not come at all with the tables of now.
func (r *renderer) between() {
	if r.done != "" {
		r.done, r.open, r.behind = "", "", false
	}
}
