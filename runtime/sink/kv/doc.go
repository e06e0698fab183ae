// Package kv is the sink that keeps a JetStream bucket of keys equal to the
// followed tables: a key for each row, and the row as it is now under it.
//
// Neighbours: sink/stream delivers, exactly once; runtime/format/keyvalue makes
// keys and values. See DESIGN.md.
package kv
