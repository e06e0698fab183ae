// Package position is how far a MySQL or MariaDB log has been read, as the
// compact text that travels as an sdk.Position:
//
//	{"flavor":"mysql","file":"binlog.000003","pos":157,"gtid":"uuid:1-5","server":"uuid"}
//
// Neighbours: cdc/mysql/assemble makes positions at every commit; cdc/mysql and
// cdc/binlogfile start reading at them; all others see opaque text.
package position
