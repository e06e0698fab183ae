// Package maxwell is the message format "maxwell": the rows of Maxwell's daemon.
//
//	{"database":"shop","table":"orders","type":"update","ts":1714550400,"xid":23,"commit":true,
//	 "data":{"id":7,"email":null,"total":13.00},"old":{"email":"a@example.com","total":12.50}}
//
// type is insert, update, delete, bootstrap-insert (read by a snapshot) or
// table-truncate. data is the row behind the change, of a delete the row before it;
// old has what the columns that an update changed had before. xid numbers the
// transaction, and commit is there on its last row.
//
//	integer, BIT, YEAR   number
//	DECIMAL              number, with the digits that the column has
//	FLOAT, DOUBLE        number, the shortest that reads back as the same value
//	DATE, DATETIME(n), TIMESTAMP(n), TIME(n)   as the server prints them, in UTC
//	ENUM, text           string
//	SET                  array of strings
//	binary               string, base64
//	JSON                 the document itself
//	geometry             well-known text
//	VECTOR               array of numbers
//	UUID, INET           string
//
// What differs from Maxwell: docs/guides/formats.md.
//
// Source: RowMap and columndef of zendesk/maxwell 1.45.
//
// Neighbours: implements runtime/format's Format, Keyer and KeySender.
package maxwell
