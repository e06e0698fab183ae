package assemble

import "github.com/cdcd-io/cdcd/cdc/mysql/binlog"

// Handling is what happens to a type of event.
type Handling string

// The ways of handling an event. Every type that is not in Handled stops the
// reading, unless its header says that whoever does not know it may pass it.
const (
	Follows Handling = "followed"    // it moves the position, or begins, ends or undoes a transaction
	Decodes Handling = "decoded"     // its rows are delivered
	Passes  Handling = "passed over" // it changes no rows
	Stops   Handling = "stops"
)

// EventHandling says what happens to one type of event.
type EventHandling struct {
	Type   binlog.EventType
	Does   Handling
	Code   string // of the fault, of Stops
	Detail string
}

// Handled lists every type of event that MySQL and MariaDB write or ever wrote,
// by number. A test holds it against what the Assembler does.
func Handled() []EventHandling {
	unknown := func(t binlog.EventType, why string) EventHandling {
		return EventHandling{t, Stops, "unknown_event", why}
	}
	follows := func(t binlog.EventType, what string) EventHandling { return EventHandling{t, Follows, "", what} }
	decodes := func(t binlog.EventType, what string) EventHandling { return EventHandling{t, Decodes, "", what} }
	passes := func(t binlog.EventType, what string) EventHandling { return EventHandling{t, Passes, "", what} }
	const (
		old     = "Written by servers before 5.0."
		compact = "Decompressed, then as the uncompressed ones."
	)
	return []EventHandling{
		unknown(binlog.UnknownEvent, "No server writes it."),
		unknown(binlog.StartV3Event, old),
		follows(binlog.QueryEvent, "BEGIN, COMMIT, ROLLBACK, savepoints, XA, DDL. DML that may reach a followed table stops with `statement_format`; TRUNCATE of one is a row."),
		follows(binlog.StopEvent, "The server was shut down; the position moves."),
		follows(binlog.RotateEvent, "The log goes on in another file."),
		passes(binlog.IntVarEvent, "Of a statement, which follows."),
		unknown(binlog.LoadEvent, old),
		unknown(binlog.SlaveEvent, old),
		unknown(binlog.CreateFileEvent, old),
		passes(binlog.AppendBlockEvent, "Data of a LOAD DATA; EXECUTE_LOAD_QUERY says of which table."),
		unknown(binlog.ExecLoadEvent, old),
		passes(binlog.DeleteFileEvent, "A LOAD DATA that failed."),
		unknown(binlog.NewLoadEvent, old),
		passes(binlog.RandEvent, "Of a statement, which follows."),
		passes(binlog.UserVarEvent, "Of a statement, which follows."),
		follows(binlog.FormatDescriptionEvent, "Begins a file or a connection; what was open was not committed. Checksums may change here."),
		follows(binlog.XIDEvent, "Commits."),
		passes(binlog.BeginLoadQueryEvent, "Data of a LOAD DATA; EXECUTE_LOAD_QUERY says of which table."),
		follows(binlog.ExecuteLoadQueryEvent, "LOAD DATA in statement format: stops with `statement_format` where it may reach a followed table."),
		follows(binlog.TableMapEvent, "Describes the table of the rows that follow; of tables that are not followed nothing else is read."),
		{binlog.WriteRowsV0Event, Stops, "unknown_event", "Written by MySQL 5.1 before its release."},
		{binlog.UpdateRowsV0Event, Stops, "unknown_event", "Written by MySQL 5.1 before its release."},
		{binlog.DeleteRowsV0Event, Stops, "unknown_event", "Written by MySQL 5.1 before its release."},
		decodes(binlog.WriteRowsV1Event, "Inserts: MariaDB, and MySQL before 5.6."),
		decodes(binlog.UpdateRowsV1Event, "Updates: MariaDB, and MySQL before 5.6."),
		decodes(binlog.DeleteRowsV1Event, "Deletes: MariaDB, and MySQL before 5.6."),
		{binlog.IncidentEvent, Stops, "incident", "The server itself says that its log misses changes."},
		follows(binlog.HeartbeatEvent, "Nothing more is there; the position is told."),
		passes(binlog.IgnorableEvent, "Made to be passed over."),
		passes(binlog.RowsQueryEvent, "The text of the statement whose rows follow."),
		decodes(binlog.WriteRowsEvent, "Inserts."),
		decodes(binlog.UpdateRowsEvent, "Updates."),
		decodes(binlog.DeleteRowsEvent, "Deletes."),
		follows(binlog.GTIDEvent, "Begins a transaction."),
		follows(binlog.AnonymousGTIDEvent, "Begins a transaction without GTID."),
		follows(binlog.PreviousGTIDsEvent, "Begins a file; the position moves."),
		passes(binlog.TransactionContextEvent, "Of group replication."),
		passes(binlog.ViewChangeEvent, "Of group replication."),
		follows(binlog.XAPrepareEvent, "Ends the first part of an XA transaction; its rows come with XA COMMIT. With ONE PHASE it commits."),
		decodes(binlog.PartialUpdateRowsEvent, "Updates with parts of JSON documents, which are applied to the documents before; without those, `partial_json_unsupported`."),
		decodes(binlog.TransactionPayloadEvent, "A compressed transaction: read as a stream, within bounds."),
		follows(binlog.HeartbeatV2Event, "Nothing more is there; the position is told, beyond 4 GiB too."),
		follows(binlog.GTIDTaggedEvent, "Begins a transaction with a tagged GTID."),
		passes(binlog.MariaAnnotateRowsEvent, "The text of the statement whose rows follow."),
		follows(binlog.MariaBinlogCheckpointEvent, "Of the server's own recovery; the position moves."),
		follows(binlog.MariaGTIDEvent, "Begins a transaction; says whether it is one of XA."),
		follows(binlog.MariaGTIDListEvent, "Begins a file: what was executed before it."),
		follows(binlog.MariaStartEncryptionEvent, "From a server, what follows comes decrypted. In a file it is a stop: `binlog_encrypted`."),
		follows(binlog.MariaQueryCompressedEvent, compact),
		decodes(binlog.MariaWriteRowsCompressedV1, compact),
		decodes(binlog.MariaUpdateRowsCompressedV1, compact),
		decodes(binlog.MariaDeleteRowsCompressedV1, compact),
		decodes(binlog.MariaWriteRowsCompressedEvent, compact),
		decodes(binlog.MariaUpdateRowsCompressedEvent, compact),
		decodes(binlog.MariaDeleteRowsCompressedEvent, compact),
		unknown(binlog.MariaPartialRowDataEvent, "A fragment of a rows event, from MariaDB 12.3. Set binlog_row_event_fragment_threshold so high that none is written."),
	}
}
