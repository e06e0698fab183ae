// Package schedule says when something is due: "@every 15m", "@hourly", or five
// fields as cron has them, in a time zone. It knows no clock and starts nothing.
//
// Neighbours: runtime/config reads schedules, runtime runs pipelines by them.
package schedule
