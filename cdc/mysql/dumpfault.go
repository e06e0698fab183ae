package mysql

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// host is one server of the list: what faults name.
type host struct{ replica.Target }

// connectFault says why a connection failed.
func (h host) connectFault(err error) error {
	switch replica.Code(err) {
	case 1044, 1045, 1698, 1251, 3159:
		return fault.New(fault.Environment, "access_denied", h.Addr,
			"check user and password in dsn, and that the account may connect from this host (CREATE USER 'cdcd'@'%' ...)", "%w", err)
	case 0, 1040, 1053, 1129, 1158, 1159, 1160, 1161:
		return fault.New(fault.Environment, "server_unreachable", h.Addr,
			"check host and port in dsn, that the server runs, and that a firewall lets the connection through", "%w", err)
	}
	return fault.New(fault.Environment, "server_unreachable", h.Addr, "see the server's message", "%w", err)
}

// sqlFault says why a question failed.
func (h host) sqlFault(err error) error {
	var f *fault.Fault
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case isDenied(err):
		return h.grantFault(err)
	case mendable(err):
		return fault.New(fault.Environment, "server_unreachable", h.Addr, "see the server's log", "%w", err)
	}
	return fault.New(fault.Environment, "server_refused", h.Addr, "see the server's message", "%w", err)
}

// isDenied reports whether the server missed a privilege.
func isDenied(err error) bool {
	switch replica.Code(err) {
	case 1142, 1143, 1227, 1044:
		return true
	}
	return false
}

// grantFault names the statement that grants what is needed.
func (h host) grantFault(err error) error {
	return fault.New(fault.Environment, "missing_grant", h.Addr,
		fmt.Sprintf("run on the server: GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO %s@'%%'", replica.Quote(h.User)),
		"the account %s lacks a privilege: %w", h.User, err)
}

// dumpFault says why the server ended the stream. Error 1236 has many causes,
// which only its text tells apart (mysql-server, sql/rpl_binlog_sender.cc;
// mariadb, sql/sql_repl.cc).
func (h host) dumpFault(err error) error {
	if _, ok := errors.AsType[*fault.Fault](err); ok {
		return err
	}
	code := replica.Code(err)
	switch {
	case code == 0:
		return h.lost(err)
	case isDenied(err), code == 1045:
		return h.grantFault(err)
	case code != 1236 && mendable(err):
		return h.lost(err)
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
		return fault.New(fault.Environment, code, h.Addr, hint, "%w", err)
	}
	switch {
	case has("could not find first log file name", "purged", "could not find gtid state requested",
		"could not find the gtid state"):
		return f("position_purged", purgedHint)
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

// timeout reports whether the connection was silent for too long.
func timeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// lost describes a connection's end.
func (h host) lost(err error) error {
	if timeout(err) {
		err = fmt.Errorf("no sign of life from the server: %w", err)
	}
	return fault.New(fault.Retryable, "connection_lost", h.Addr, "reading goes on by itself; see the server's log if it happens often", "%w", err)
}
