// Package mysql is the source of changes of a MySQL or MariaDB server: it reads
// the binary log as a replica does, in GTID or in file mode, reconnects by
// itself from the last commit, and checks beforehand that the server allows it.
// Which of the two servers it is, it finds out by itself. See DESIGN.md.
//
// Neighbours: cdc/mysql/replica is the connection, cdc/mysql/binlog decodes,
// cdc/mysql/assemble makes batches; runtime/pipeline runs it.
package mysql
