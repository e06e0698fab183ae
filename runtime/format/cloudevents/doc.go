// Package cloudevents is the message format "cloudevents": CloudEvents 1.0 in
// structured JSON mode, around a body of the format json or debezium.
//
//	{"specversion":"1.0","id":"3e11fa47-…:23#0.0","source":"/cdcd/shop","type":"io.cdcd.row.insert",
//	 "subject":"shop.orders","time":"2024-05-01T08:00:00.123456Z","datacontenttype":"application/json",
//	 "partitionkey":"{\"id\":7}","data":{…}}
//
// id is the message's place in the log: transaction, row and part. With source it
// is unique, and the same again when a row is read again. With data: debezium the
// attributes are those of Debezium's converter: source is /debezium/mysql/shop,
// type io.debezium.connector.mysql.DataChangeEvent, and what the block source says
// most about a change stands in iodebezium… beside it.
//
// Source: the CloudEvents specification 1.0.2, its JSON format and partitioning
// extension; CloudEventsMaker of debezium/debezium.
//
// Neighbours: wraps runtime/format/json and runtime/format/debezium; implements
// runtime/format's Format, Parted and KeySender.
package cloudevents
