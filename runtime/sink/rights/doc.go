// Package rights notices what a NATS server refuses to its user. The server says
// so in an error of the connection and answers nothing: whoever waits would
// wait in vain, and be told that the server is silent.
//
// Neighbours: sink/jetstream, sink/deadletters and runtime/natsd ask through it.
package rights
