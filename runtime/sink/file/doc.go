// Package file is the sink that appends messages' bodies as lines to a file,
// exactly once: a checkpoint's token is the file's length, and a claim cuts off
// what was written behind it.
//
// Neighbours: sink (the contract); sink/lines does the queueing.
package file
