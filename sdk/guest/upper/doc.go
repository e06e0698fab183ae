// Command upper makes the ASCII letters of one text column upper case. It is
// the worked connector of sdk/guest, and the same one as sdk/c/upper,
// sdk/rust/upper and sdk/assemblyscript/upper: the cases in testdata hold for
// all four.
//
// Neighbours: sdk and sdk/guest, which it is built from; sdk/sdktest runs its
// cases; sdk/golden has the other three as modules.
package main
