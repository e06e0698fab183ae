// Package remote keeps copies of the state in an object store, and brings a
// machine that lost its state back to the newest good one.
//
// A Replicator copies the store every so often while it is written to, and
// uploads what the bucket does not have yet. Nothing waits for it: a bucket that
// is slow, full or gone shows in Status and in the log, and the local state goes
// on as if there were none.
//
// Neighbours: state makes the copies; runtime owns the Replicator; cmd/cdcd
// restores. The object store is reached through Bucket, of which S3 is one for
// everything that speaks S3's protocol.
package remote
