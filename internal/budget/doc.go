// Package budget bounds memory and speed: a byte budget that only sources
// acquire from and whose reservations travel with batches, and a rate limiter
// in rows and bytes per second.
//
// Neighbours: cdc sources acquire and are limited; runtime/pipeline releases a
// batch's reservation once the batch is confirmed; runtime owns the one budget
// of the daemon.
package budget
