package scan

import (
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// The codes of this package's faults.
const (
	CodeNoKey     = "snapshot_no_key"          // a table without a usable key that is too large for one chunk
	CodeEngine    = "snapshot_engine"          // a table whose engine shows no consistent state
	CodeNoTable   = "snapshot_no_table"        // no such table, or no permission to see it
	CodeColumns   = "snapshot_columns"         // a list of columns that names what is not there
	CodeWhere     = "snapshot_where"           // a predicate that the server refuses
	CodeChanged   = "snapshot_table_changed"   // the table is no longer as it was planned
	CodeKeyStale  = "snapshot_key_stale"       // a key that is not of this table's key
	CodeNoLow     = "snapshot_no_low_mark"     // no exact low mark without a lock that is not granted
	CodeLockBusy  = "snapshot_lock_busy"       // the short lock was not granted in time
	CodeSlow      = "snapshot_chunk_slow"      // a chunk ran into the server's time limit
	CodeOther     = "snapshot_server_other"    // the connection was lost and another server answers
	CodeLost      = "snapshot_connection_lost" // no connection, or none any more
	CodeDenied    = "snapshot_denied"          // a permission is missing
	CodeLarge     = "snapshot_row_large"       // a row beyond Options.RowBytesMax
	CodeBinlogOff = "binlog_off"               // the server writes no binary log
	CodeAccess    = "access_denied"            // the server refuses the account
)

// Errors of the servers. Sources: MySQL's "Server Error Message Reference",
// MariaDB's "Error Codes".
const (
	errAccessDB       = 1044
	errNoSuchField    = 1054
	errParse          = 1064
	errColumnDenied   = 1143
	errTableDenied    = 1142
	errNoSuchTable    = 1146
	errLockTimeout    = 1205
	errNeedsPrivilege = 1227
	errDefChanged     = 1412
	errMariaTime      = 1969
	errMySQLTime      = 3024
	errUnknownDB      = 1049
	errNoSuchKey      = 1176
	errAccess         = 1045
)

// passing reports whether an error of the server is about this connection or
// this moment: too many connections, shutting down, killed, a deadlock, limits of
// the account, idle for too long.
func passing(code uint16) bool {
	switch code {
	case 1040, 1053, 1203, 1205, 1213, 1226, 1317, 1927, 3169, 4031:
		return true
	}
	return false
}

// sqlFault makes a fault of what a statement about a table ended with.
func (c *Conn) sqlFault(t *Table, err error) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*fault.Fault](err); known && !fault.HasCode(err, "event_too_large") {
		return err
	}
	place := c.o.Target.Addr
	if t != nil {
		place = t.FullName()
	}
	switch replica.Code(err) {
	case 0:
		if fault.HasCode(err, "event_too_large") {
			return fault.New(fault.Fatal, CodeLarge, place, "raise event_bytes_max, or name the columns to read without the large one",
				"a row of the table is larger than event_bytes_max of %d bytes", c.o.RowBytesMax)
		}
		return fault.New(fault.Retryable, CodeLost, c.o.Target.Addr, "see whether the server is up, and its error log", "%w", err)
	case errAccess:
		return fault.New(fault.Environment, CodeAccess, c.o.Target.Addr, "correct user and password in the DSN", "%w", err)
	case errMySQLTime, errMariaTime:
		return fault.New(fault.Retryable, CodeSlow, place,
			"raise max_execution_time (MariaDB: max_statement_time) of the account, or look why the table is read so slowly",
			"a chunk took longer than the server allows a statement: %w", err)
	case errDefChanged, errNoSuchField, errNoSuchKey:
		return changed(place, err)
	case errNoSuchTable, errUnknownDB:
		return fault.New(fault.Fatal, CodeNoTable, place, "leave the table out, or name one that is there", "%w", err)
	case errNeedsPrivilege:
		return fault.New(fault.Environment, CodeDenied, place,
			"GRANT REPLICATION CLIENT (MariaDB: BINLOG MONITOR) ON *.* to the account of cdcd", "%w", err)
	case errAccessDB, errTableDenied, errColumnDenied:
		return fault.New(fault.Environment, CodeDenied, place, "GRANT SELECT on the table to the account of cdcd", "%w", err)
	case errLockTimeout:
		return fault.New(fault.Retryable, CodeLockBusy, place, "wait for, or end, the transaction that holds the table", "%w", err)
	}
	if passing(replica.Code(err)) {
		return fault.New(fault.Retryable, CodeLost, c.o.Target.Addr, "see whether the server is up, and its error log", "%w", err)
	}
	return fmt.Errorf("%s: %w", place, err)
}

// changed says that a table is not as it was planned.
func changed(place string, err error) error {
	return fault.New(fault.Retryable, CodeChanged, place, "plan the table anew: its definition has changed", "%w", err)
}
