// Package examine looks at a MySQL or MariaDB server with a pipeline's eyes: may
// it be read, is everything in its log, what weakens a promise, and which
// statement mends it. It changes nothing on the server.
//
// Neighbours: cdc/mysql offers it as its kind's Examine; replica has the
// connection, tables the patterns. cdc/mysql's preflight refuses what can't
// work; this package explains, and looks further.
package examine
