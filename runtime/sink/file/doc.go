// Package file is the sink that appends messages' bodies as lines to a file,
// exactly once, and closes that file by size and age under a name of its own.
// Where delivery stands is in a journal beside the file, so that the files
// themselves, and no checkpoint, say where to resume. A message without a body,
// a tombstone, has no line. DESIGN.md says what a crash leaves.
//
// Neighbours: sink (the contract); sink/lines does the queueing.
package file
