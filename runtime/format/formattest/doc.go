// Package formattest is the conformance suite of message formats: what every one
// of them must do with rows of all types, and the rows to try it with.
//
// Neighbours: the tests of the formats run it; cdc/cdctest has the matrix of types.
package formattest
