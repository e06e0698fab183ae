// Service answers questions about orders from the bucket that cdcd keeps equal
// to the table.
//
// Neighbours: sdk/consume, for the keys, and nothing else of cdcd.
package main
