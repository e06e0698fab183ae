// Package keyvalue says rows as a bucket of keys has them: one key for each
// row, and under it the row as it is now. It is a format around another one,
// which renders the value.
//
// Neighbours: sink/kv writes the bucket; sdk/consume reads its keys.
package keyvalue
