// Package json is the message format "json": Debezium's envelope with values
// that a person can read.
//
//	{"before":null,"after":{"id":7,"total":"12.50"},
//	 "source":{"connector":"mysql","db":"shop","table":"orders","server_id":1,
//	  "gtid":"3e11fa47-…:23","file":"binlog.000003","pos":1534,"row":0,"ts_ms":1714550400123},
//	 "op":"c","ts_ms":1714550400123,
//	 "transaction":{"id":"3e11fa47-…:23","index":0,"total":1}}
//
// op is c, u, d, r (read by a snapshot) or t (truncate). before and after are
// null where the log has no such image; a column that the log does not tell is
// left out, which is not the same as null. gtid is there for a transaction that
// has one, transaction.total where the transaction came in one batch. ts_ms is
// the commit time: a body holds no clock.
//
//	integer, BIT, YEAR   number, exact to 64 bits
//	DECIMAL              string, exact: "-12.340"
//	FLOAT, DOUBLE        number, the shortest that reads back as the same value
//	DATE                 "2024-01-02"
//	DATETIME(n)          "2024-01-02T03:04:05.123", n digits, no zone
//	TIMESTAMP(n)         "2024-01-02T03:04:05.123Z"
//	TIME(n)              "-838:59:59.000"
//	ENUM, SET, text      string
//	binary               string, base64
//	JSON                 the document itself
//	geometry             {"srid":4326,"wkb":"base64"}
//	VECTOR               array of numbers
//	UUID, INET           string
//
// A date that no calendar has (zero, or with month or day zero) is written as
// MySQL prints it: "0000-00-00", "2024-00-00 00:00:00", with a space and no
// zone, so that no parser takes it for a date by mistake.
//
// Neighbours: implements runtime/format's Format and Keyer.
package json
