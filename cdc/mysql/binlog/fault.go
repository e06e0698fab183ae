package binlog

import "github.com/cdcd-io/cdcd/internal/fault"

// The codes of this package's faults.
const (
	CodeCorrupt          = "binlog_corrupt"           // bytes that are not what the format says
	CodeChecksum         = "binlog_checksum"          // an event's CRC32 does not match
	CodeTooLarge         = "event_too_large"          // an event beyond Options.EventBytesMax
	CodeUnsupported      = "binlog_unsupported"       // a known thing that can't be read
	CodeEncrypted        = "binlog_encrypted"         // an encrypted file
	CodeTruncated        = "binlog_truncated"         // a file that ends inside an event
	CodePartialJSON      = "partial_json_unsupported" // a part of a JSON document without the document before it
	CodeSchemaMismatch   = "schema_mismatch"          // catalog and log disagree
	CodeSchemaIncomplete = "schema_incomplete"        // neither log nor catalog says it
	CodeCharset          = "charset_unknown"          // a collation id or character set without a decoder
	CodeValue            = "value_undecodable"        // one column's value can't be read without loss
	CodeResult           = "snapshot_result_corrupt"  // a SELECT's row that is not what the protocol says
)

const (
	hintCorrupt = "compare with mysqlbinlog --verify-binlog-checksum on the server; if the file is damaged there, " +
		"copy the followed tables' content anew"
	hintMetadata = "SET GLOBAL binlog_row_metadata=FULL on the server, so that the log describes its own tables"
)

func corrupt(place, what string, args ...any) error {
	return fault.New(fault.Fatal, CodeCorrupt, place, hintCorrupt, what, args...)
}

func unsupported(place, hint, what string, args ...any) error {
	return fault.New(fault.Fatal, CodeUnsupported, place, hint, what, args...)
}

func tooLarge(place string, size, limit uint64) error {
	return fault.New(fault.Fatal, CodeTooLarge, place,
		"raise event_bytes_max, or lower binlog_row_event_max_size and the size of rows at the source",
		"an event of %d bytes exceeds event_bytes_max of %d", size, limit)
}
