// Package nats is the sink that publishes to NATS subjects without a stream: to
// whoever listens at that moment. Nothing is kept for those who don't, which is
// why its configuration must say so.
//
// Neighbours: sink/lines does the queueing; sink/stream has the headers.
package nats
