// Package catalog holds the shipped connectors that were built before this
// binary was: connectors-wasm/<name>/dist/<name>.wasm. A connector's dist
// folder always has a .keep, so that everything builds on a clean clone, where
// no connector is built yet and the catalog is empty.
//
// Neighbours: cmd/cdcd hands the catalog to the configuration and the daemon;
// it imports nothing of the module.
package catalog
