// Package canal is the message format "canal": Canal's FlatMessage, one row a
// message.
//
//	{"data":[{"id":"7","total":"12.50"}],"database":"shop","es":1714550400123,
//	 "gtid":"3e11fa47-…:23","id":1,"isDdl":false,
//	 "mysqlType":{"id":"int","total":"decimal(10,2)"},"old":null,"pkNames":["id"],
//	 "sql":"","sqlType":{"id":4,"total":3},"table":"orders","ts":1714550400123,"type":"INSERT"}
//
// Every value is a string or null, as the server prints it; bytes, geometries
// and vectors are a character for each byte (ISO 8859-1), ENUM and SET the number
// that the server keeps, unless the option labels is set. old has the columns that
// an update changed. sqlType is of java.sql.Types and, as in Canal, the next wider
// type for an unsigned value that the column's own can't hold.
//
// What differs from Canal: docs/guides/formats.md.
//
// Source: FlatMessage, LogEventConvert and RowsLogBuffer of alibaba/canal 1.1.
//
// Neighbours: implements runtime/format's Format and Keyer.
package canal
