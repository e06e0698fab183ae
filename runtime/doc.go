// Package runtime is the daemon: it owns the state, the budget, the NATS
// server, the WebAssembly host, the admin server and the pipelines, builds each
// pipeline from the configuration and the kinds that it was given, and ends
// them in order.
//
// A pipeline that can't be built or halts does not touch the others.
//
// Neighbours: cmd/cdcd passes a config.Config and the kinds; everything else
// under runtime/ is put together here.
package runtime
