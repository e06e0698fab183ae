// Package schema knows tables' definitions as they were at a position of a
// log. Its reader understands the data definition statements of MySQL and
// MariaDB, and its History applies them one after the other, so that rows of a
// log that does not name its columns (binlog_row_metadata=MINIMAL, the default
// of both servers) are decoded by the definition that was true when they were
// written, not by the one of today.
//
// cdc/mysql/assemble feeds it the statements of the log and checks every
// definition against the log's own description of the table; cdc.SchemaStore
// keeps what it has found out. DESIGN.md tells the rules.
package schema
