// Package definition reads the definition of a table, as it is now, from the
// server's catalog: columns with their types, character sets and labels, and
// keys in the order in which the server has them.
//
// Neighbours: cdc/mysql/replica has the connection, cdc/schema the form; cdc/mysql
// takes definitions for logs that do not describe their own tables, and
// cdc/mysql/scan for tables that it reads itself.
package definition
