// Package tables is the filter that says which tables a MySQL or MariaDB
// source follows.
//
// Neighbours: cdc/mysql and cdc/binlogfile make a Filter of their configuration;
// cdc/mysql/assemble asks it once for each table definition in the log.
package tables
