package mysql

import (
	"context"
	"fmt"

	"github.com/cdcd-io/cdcd/cdc/mysql/assemble"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// fits checks that reading can go on at this server without a hole and without
// a change twice: that it is the one to which the position belongs, or that it
// has executed all that was delivered and has kept all that was not.
func (r *run) fits(ctx context.Context, v *server) error {
	from := r.start
	if from.Flavor != v.flavor {
		return fault.New(fault.Environment, "server_changed", v.Addr, "connect to the server that was read before, or begin anew",
			"the position is of %v, the server is %v", from.Flavor, v.flavor)
	}
	other := from.Server != "" && from.Server != v.uuid
	if from.GTIDs == nil && other {
		return fault.New(fault.Environment, "server_changed", v.Addr,
			"connect to the server that was read before; to move between servers, use GTIDs (gtid_mode=ON and mode: gtid)",
			"the position %s is of server %s, this is server %s", from.Place(), from.Server, v.uuid)
	}
	tx := r.a.Waiting()
	if from.GTIDs == nil && tx == "" {
		return nil
	}
	head, err := v.head(ctx)
	if err != nil {
		return err
	}
	if from.GTIDs != nil {
		if err := continues(ctx, v, from, head); err != nil {
			return err
		}
	}
	if tx != "" && !comes(tx, from, head) {
		return fault.New(fault.Fatal, "source_behind", v.Addr,
			"connect to a server that has all that was read before, or copy the followed tables' content anew",
			"transaction %s does not come behind %s on this server", tx, from.Place())
	}
	if other { // what was checked at the other server
		return r.s.checkLog(ctx, v)
	}
	return r.sameLog(ctx, v, head)
}

// sameLog checks that the server has not begun its log anew since: GTIDs are
// then given a second time. Without GTIDs the stream itself tells, because it
// begins with the head of the file in which reading stopped.
func (r *run) sameLog(ctx context.Context, v *server, head *position.Position) error {
	from := r.start
	if from.GTIDs == nil || from.Born == 0 || from.File == "" || from.Server == "" {
		return nil
	}
	replaced := func(err error) error {
		return fault.New(fault.Fatal, assemble.CodeReplaced, v.Addr, assemble.HintReplaced, "%w", err)
	}
	if c, err := position.Compare(head.File, 0, from.File, 0); err == nil && c < 0 {
		return replaced(fmt.Errorf("reading stopped in %s, and the server's last log file is %s", from.File, head.File))
	}
	size, err := v.logSize(ctx, from.File)
	if err != nil || size == 0 { // deleted in the meantime, which is well where all of it was read
		return err
	}
	beside, err := r.s.dial(ctx, v.host)
	if err != nil {
		return err
	}
	born, err := replica.Born(ctx, beside.conn, from.File, r.s.dumpOptions())
	switch {
	case err != nil:
		return v.dumpFault(err)
	case born != from.Born:
		return replaced(assemble.Replaced(from.File, born, from.Born))
	}
	return nil
}

// continues compares what was delivered with what the server has executed, and
// with what it has deleted. MySQL itself compares only GTIDs of its own uuid.
func continues(ctx context.Context, v *server, from, head *position.Position) error {
	if head.GTIDs == nil {
		return fault.New(fault.Environment, "gtid_off", v.Addr, "switch gtid_mode to ON on this server too",
			"the position has GTIDs, the server writes none")
	}
	if missing := from.GTIDs.Minus(head.GTIDs); !missing.IsEmpty() {
		return fault.New(fault.Fatal, "source_behind", v.Addr,
			"wait until this server has them (SHOW REPLICA STATUS; log_replica_updates=ON), or name one that has; "+
				"if none ever will, begin anew: give the pipeline and its stream new names",
			"the server lacks transactions that were delivered: %.200s", missing)
	}
	if v.flavor != gtid.MySQL {
		return nil // MariaDB tells when it is asked for the log
	}
	oldest, err := v.earliest(ctx)
	if err != nil {
		return err
	}
	if gone := oldest.GTIDs.Minus(from.GTIDs); !gone.IsEmpty() {
		return fault.New(fault.Environment, "position_purged", v.Addr, purgedHint,
			"the server's log has these transactions no more, and they were not read: %.200s", gone)
	}
	return nil
}

const purgedHint = "the gap is on record; copy the followed tables' content anew, or load what is missing from a backup of the log; " +
	"then begin anew (new names for pipeline and stream) with start: earliest, and keep logs longer (binlog_expire_logs_seconds)"

// comes reports whether a transaction lies between a position and the log's end.
func comes(tx string, from, head *position.Position) bool {
	id, err := gtid.ParseID(from.Flavor, tx)
	if err == nil {
		return head.GTIDs == nil || head.GTIDs.Has(id) && (from.GTIDs == nil || !from.GTIDs.Has(id))
	}
	file, pos, ok := position.ParsePlace(tx)
	if !ok {
		return true
	}
	end, errEnd := position.Compare(head.File, head.Pos, file, pos)
	begin, errBegin := position.Compare(from.File, from.Pos, file, pos)
	return errEnd == nil && errBegin == nil && end > 0 && begin <= 0
}
