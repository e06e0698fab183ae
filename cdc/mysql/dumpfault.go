package mysql

import (
	"errors"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// dumpFault says why the server ended the stream. Error 1236 has many causes,
// which only its text tells apart (mysql-server, sql/rpl_binlog_sender.cc;
// mariadb, sql/sql_repl.cc).
func (s *Source) dumpFault(err error) error {
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	code := replica.Code(err)
	switch {
	case code == 0:
		return s.lost(err)
	case isDenied(err), code == 1045:
		return s.grantFault(err)
	case code != 1236 && mendable(err):
		return s.lost(err)
	}
	text := strings.ToLower(err.Error())
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	f := func(code, hint string) error {
		return fault.New(fault.Environment, code, s.target.Addr, hint, "%w", err)
	}
	switch {
	case has("could not find first log file name", "purged", "could not find gtid state requested",
		"could not find the gtid state"):
		return f("position_purged", "the server has deleted the log at which reading must go on: begin anew (new names for pipeline and stream) "+
			"with start: earliest, load what is missing from a backup, and keep logs longer (binlog_expire_logs_seconds)")
	case has("same server_uuid/server_id", "same server_id", "same server_uuid"):
		return f("server_id_in_use", "another replica or another cdcd uses this server_id: stop it, or set source.mysql.server_id to a number of its own")
	case has("impossible position", "position > file size", "has more gtids than", "not in the master's binlog", "not in the source's binlog",
		"which is not in the"):
		return f("source_behind", "this server lacks transactions that were read before: connect to one that has them, "+
			"or begin anew: give the pipeline and its stream new names")
	case has("max_allowed_packet"):
		return f("event_too_large", "SET GLOBAL max_allowed_packet=1073741824 on the server")
	case has("binary log is not open", "binary logging is not"):
		return f("binlog_off", "start the server with log_bin")
	}
	return f("server_refused", "see the server's message")
}
