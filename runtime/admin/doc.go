// Package admin is the HTTP face of the daemon: health, readiness, metrics and
// what the pipelines do. It reads; it changes nothing.
//
// Neighbours: runtime/telemetry has what is served; the daemon's owner starts
// it when the configuration has a server.
package admin
