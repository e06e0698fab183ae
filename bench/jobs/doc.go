// Package jobs runs whole processes against each other: the product, the loop
// that it is weighed against, and the publish-only ceiling, in turns, over the
// same rows, each verified by what it has left in its stream.
//
// Neighbours: bench and bench/delivery race them; bench/load fills the database.
package jobs
