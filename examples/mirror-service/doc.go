// Mirror-service is a service that reads a stream of cdcd: it keeps a copy of
// one table in a file, exactly, whatever is killed.
//
// Neighbours: sdk/consume, and nothing else of cdcd.
package main
