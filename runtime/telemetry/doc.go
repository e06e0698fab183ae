// Package telemetry is the account of running pipelines in the form in which
// others read it: Status for the API, and Prometheus metrics made from it at
// the moment of the scrape. It keeps no counters of its own, so that a number
// is the same wherever it is shown.
//
// Neighbours: the owner of the pipelines fills Status; runtime/admin serves
// both; cmd/cdcd prints Status. It imports nothing of the module.
package telemetry
