// Package docs is the documentation. It holds Go for one reason: what
// `cdcd explain` prints is the page of errors itself.
//
// Neighbours: cmd/cdcd reads Errors; it imports nothing of the module.
package docs
