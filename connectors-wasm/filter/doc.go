// Command filter is a connector that lets rows through for which an expression
// over their columns is true (README.md). lex.go and parse.go read the
// expression, bind.go fits it to a table, eval.go and number.go evaluate it.
//
// Neighbours: sdk and sdk/guest, which it is built from; sdk/sdktest runs its
// cases; runtime/wasm runs it.
package main
