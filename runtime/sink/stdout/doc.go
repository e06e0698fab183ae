// Package stdout is the sink that writes messages' bodies as lines to standard
// output. What was written is gone: it keeps nothing and resumes where the
// checkpoint says.
// A message without a body, a tombstone, has no line.
//
// Neighbours: sink (the contract); sink/lines does the queueing.
package stdout
