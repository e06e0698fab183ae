// Package unit is values of the configuration that carry a unit or a secret:
// "10MiB", "7d", a DSN that never prints.
//
// Neighbours: every kind's configuration struct uses these; runtime/config
// decodes into them.
package unit
