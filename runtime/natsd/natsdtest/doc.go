// Package natsdtest gives tests a connection to NATS as the daemon has it.
//
// Neighbours: natsd, which makes the connection; tests of the sinks below
// runtime/sink that speak NATS.
package natsdtest
