// Package debezium is the message format "debezium": what Debezium's connectors
// for MySQL and MariaDB give with their default options, as Kafka Connect's
// JsonConverter writes it.
//
//	{"before":null,"after":{"id":7,"total":"BOI="},
//	 "source":{"version":"3.6.0.cdcd","connector":"mysql","name":"shop","ts_ms":1714550400123,"snapshot":"false",
//	  "db":"shop","sequence":null,"ts_us":…,"ts_ns":…,"table":"orders","server_id":1,"gtid":"3e11fa47-…:23",
//	  "file":"binlog.000003","pos":1534,"row":0,"thread":null,"query":null},
//	 "transaction":null,"op":"c","ts_ms":1714550400123,"ts_us":…,"ts_ns":…}
//
// A delete is followed by a tombstone: a message with its key and no body. An
// update that changes the key is a delete with the header __debezium.newkey, its
// tombstone, and a create with the header __debezium.oldkey. With the option
// schemas, bodies and keys are {"schema":…,"payload":…}.
//
// How the values of each type are written, what the defaults lose, which options
// keep it, and what differs from Debezium: docs/guides/formats.md. The fields of
// an image that the log does not tell are left out.
//
// Source: debezium/debezium 3.6, BinlogValueConverters, JdbcValueConverters,
// SchemaFactory and RelationalChangeRecordEmitter; apache/kafka, JsonConverter.
//
// Neighbours: implements runtime/format's Format, Parted and KeySender;
// runtime/format/cloudevents wraps it.
package debezium
