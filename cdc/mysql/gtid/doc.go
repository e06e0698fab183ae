// Package gtid is global transaction ids and sets of them, of MySQL (tags
// included) and of MariaDB: text, arithmetic, and the form that MySQL's
// COM_BINLOG_DUMP_GTID takes.
//
// Neighbours: cdc/mysql/position keeps a set as text; cdc/mysql/assemble adds
// to it at every commit; cdc/mysql starts reading behind it.
package gtid
