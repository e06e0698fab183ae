// Package value reads large values: those over 64 KiB, which lie beside a batch
// and not in it. Importing it makes the module ask for the capability "value":
// its manifest must list it and the step's configuration grant it. A connector
// that only passes, nulls or replaces such values does not need it.
//
// Neighbours: runtime/wasm (the other side), sdk (Image.IsLarge).
package value
