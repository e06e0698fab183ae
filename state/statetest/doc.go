// Package statetest gives tests a disk that can crash: a state.Store opened on
// it finds, after Crash, what a power cut would have left.
//
// Neighbours: tests of state and runtime/pipeline. No code that ships imports it.
package statetest
