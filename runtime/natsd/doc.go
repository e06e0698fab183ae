// Package natsd gives the daemon its NATS: a nats-server inside the process,
// or connections to an external server or cluster, behind one face.
//
// Neighbours: runtime starts and closes it and hands its connections to sinks;
// runtime/sink/jetstream makes streams on it. It knows nothing of pipelines.
package natsd
