// Package format turns rows into message bodies, and control messages into
// JSON. One Format, chosen in the sink's configuration, serves one pipeline.
//
// jsontext has the pieces of JSON that formats share, formattest the suite that
// each of them passes.
//
// Neighbours: sdk (rows and schemas); runtime/pipeline calls it.
package format
