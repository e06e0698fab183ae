// Package cdc is the contract between a source of changes and the pipeline
// that reads it: batches with positions, where to start, and what a source may
// ask of its surroundings. It holds no driver.
//
// Neighbours: cdc/mysql and cdc/binlogfile implement Source, the first with
// cdc/snapshot's help where it copies tables; cdc/cdctest has a scripted one and what
// each must pass; runtime/pipeline runs it; state implements the stores declared here.
package cdc
