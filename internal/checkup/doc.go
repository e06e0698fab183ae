// Package checkup says how one check of the surroundings came out: of a
// database, a broker, a directory. It has the form only; who knows the thing
// checks it.
//
// Neighbours: cdc and runtime/sink let their kinds examine what they connect
// to; cmd/cdcd prints what `cdcd doctor` finds.
package checkup
