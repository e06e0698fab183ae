// Package jetstream is the sink that publishes to a NATS JetStream stream,
// exactly once: it makes or checks the stream, and is sink/chain's Log on a
// connection.
//
// Neighbours: sink/chain decides what is sent and where to resume; runtime/natsd
// gives the connection; sink/subject has the template. See DESIGN.md.
package jetstream
