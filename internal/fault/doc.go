// Package fault is the one error type that people see: a code to look up, the
// place, what happened, the way out, and a class that says who may act on it.
//
// Neighbours: everything above sdk may return a Fault; runtime/pipeline reads
// its class to decide between retry, dead letter and halt; cmd/cdcd turns its
// class into an exit code.
package fault
