// Package jetstream is the sink that publishes to a NATS JetStream stream,
// exactly once: what its configuration says, and what the stream should be like.
//
// Neighbours: sink/stream does the work; sink/subject has the template.
package jetstream
