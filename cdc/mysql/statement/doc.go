// Package statement says what the text of a statement in the log means for a
// reader of changes: a boundary of a transaction, a change of rows in statement
// format, a change of tables, or nothing. It is not a SQL parser: it reads just
// enough to name the tables, and says "unknown" where it can't.
//
// Neighbours: cdc/mysql/assemble asks it about every QUERY event.
package statement
