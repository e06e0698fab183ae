// Package codecache keeps machine code on disk from one run to the next, and
// gives out nothing that it did not put in itself.
//
// An entry is a file named by its key: a header with a MAC over key, name and
// content, then the content. The MAC's key lies beside it, mode 0600, in a
// directory that nobody else may write to: what comes out of here is executed.
// Get copies an entry to where this process alone reaches it while it computes
// the MAC, so that the bytes that were verified are the bytes that are loaded,
// whatever happens to the file. An entry that does not verify is removed and
// counts as missing.
//
// Entries come by rename, so several processes may share a directory. It is
// bounded in bytes; those used least recently (the file's time) go first.
//
// Neighbours: runtime/wasm keys, compiles and loads. Nothing here knows what
// the content means.
package codecache
