// Package binlog reads the binary log of MySQL and MariaDB: it splits raw
// events, decodes the ones that matter to change data capture, and decodes rows
// straight into an sdk.Builder. It is pure: it opens no connection, starts no
// goroutine and reads no clock, and everything that it keeps is bounded by
// Options.
//
//	p := binlog.NewParser(binlog.Options{Flavor: binlog.FlavorMySQL, VerifyChecksum: true})
//	ev, err := p.Parse(raw)                      // every event, in the order of the log
//	switch {
//	case ev.Type == binlog.TableMapEvent:
//		t, err := p.TableMap(ev)                 // the same *TableMap while the definition stays
//		schema, plan, err := binlog.BuildSchema(t, catalog)
//	case ev.Type.IsRows():
//		id, err := p.RowsTable(ev)               // p.Table(id): skip what is not followed
//		h, data, err := p.RowsHeader(ev)
//		data, err = p.Expand(&h, data)           // MariaDB's compressed events
//		rows, err := plan.Rows(h, data)
//		for rows.More() { _, err = rows.Next(builder, ordinal) }
//	}
//
// Nothing that is not understood becomes a value: text in an unknown character
// set, an enum without labels, a partial JSON update or a row that does not end
// where it should is a fault that names table and column.
//
// # Sources of the formats
//
// MySQL: the server's Doxygen pages "Replication Protocol" and "Binlog Event"
// (page_protocol_replication_binlog_event), the class pages of mysql::binlog::event
// (Format_description_event, Rows_event, Table_map_event with its optional
// metadata fields, Gtid_event, Transaction_payload_event, Heartbeat_event_v2),
// "mysql::serialization" for tagged GTIDs (PageLibsMysqlSerialization), and
// the comments of sql-common/json_binary.h, strings/decimal.cc and
// sql-common/my_time.cc for JSON, DECIMAL and the temporal types.
// MariaDB: the Knowledge Base, "Replication Protocol", sections 2 to 20
// ("2-Binlog Event Header", "Gtid_event", "Gtid_list_event", "Rows_event_v1",
// "Query_compressed_event", "Start_encryption_event", ...) and "Storage-Engine
// Independent Column Compression".
// What the texts leave open was settled on MySQL 9.7 and MariaDB 10.11; the
// tests hold every such value against the server's own answer.
//
// Neighbours: cdc/mysql feeds it packets of a replication connection and
// assembles transactions, cdc/binlogfile feeds it files (FileReader), cdc/snapshot
// uses BuildSchema's types for tables that it reads itself.
package binlog
