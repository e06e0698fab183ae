// Package skip leaves out a test that lacks something of its surroundings: in
// front of a person loudly, and in continuous integration not at all.
//
// Neighbours: tests import it. internal/testserver has the same rule for the
// servers that it starts.
package skip
