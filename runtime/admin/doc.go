// Package admin is the HTTP face of the daemon: health, readiness, metrics and
// what the pipelines do. It reads; all that it changes are dead letters, which it
// purges. openapi.json is its reference.
//
// Neighbours: runtime/telemetry has what is served; the daemon's owner starts
// it when the configuration has a server.
package admin
