// Package lines is the half that sinks writing lines to a local place share:
// the bounded queue between Publish and Wait. Wait writes what is queued and
// syncs once for all of it.
//
// Neighbours: sink/stdout and sink/file give it a Target.
package lines
