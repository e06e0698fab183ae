// Package cdc is the contract between a source of changes and the pipeline
// that reads it: batches with positions, where to start, and what a source may
// ask of its surroundings. It holds no driver.
//
// Neighbours: cdc/mysql, cdc/binlogfile and cdc/snapshot implement Source;
// runtime/pipeline runs it; state implements the stores declared here.
package cdc
