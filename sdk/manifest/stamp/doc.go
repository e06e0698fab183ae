// Command stamp writes a connector's manifest into its module:
//
//	go run ./sdk/manifest/stamp dist/mask.wasm manifest.json
//
// The module is replaced in place. Go can't emit custom sections by itself.
//
// Neighbours: sdk/manifest, which does the work; the Makefile's connectors
// target, which calls it after go build.
package main
