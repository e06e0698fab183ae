package telemetry

import (
	"encoding/json"
	"time"
)

// DeadLetter is a row that a step refused, as people and programs are shown it.
type DeadLetter struct {
	Pipeline string `json:"pipeline"`
	// ID names it within the pipeline: step/transaction#row.
	ID     string `json:"id"`
	Step   string `json:"step"`
	Reason string `json:"reason"`
	// Time is when the step refused the row, Committed when the database
	// committed it.
	Time      time.Time `json:"time"`
	Committed time.Time `json:"committed"`
	Table     string    `json:"table"`
	Op        string    `json:"op"` // insert, update, delete, ...
	Tx        string    `json:"transaction"`
	Row       uint64    `json:"row"` // 0-based, among the transaction's followed rows
	// LogPos is where the transaction begins in the database's log; Position is
	// an exact position at or before it, from which it can be read again.
	LogPos   string `json:"log_pos"`
	Position string `json:"position"`
	Bytes    int    `json:"bytes"` // of the record
	// Attempts is how often the step was given the row: more than once when it was
	// replayed and refused again.
	Attempts int `json:"attempts"`
	// ChangedBy is the place, transaction#row, of the first row of the same key that
	// came through since: the letter is out of date.
	ChangedBy string `json:"changed_by,omitempty"`
	// Key is the row's primary key, and Content the row as the step was given
	// it, in the format json; both only of one that is shown by itself.
	Key     json.RawMessage `json:"key,omitempty"`
	Content json.RawMessage `json:"content,omitempty"`
}

// DeadLetterFilter chooses dead letters: those to which all that is set applies.
type DeadLetterFilter struct {
	Step   string
	Table  string // db.table; * matches any characters
	Reason string // a part of the reason
	// Since and Before bound the time at which they were refused; zero for no
	// bound. Before is not included.
	Since, Before time.Time
}

// All reports whether every dead letter is chosen.
func (f DeadLetterFilter) All() bool { return f == DeadLetterFilter{} }

// ReplayOrder says which dead letters are to come by again: those with IDs, or those
// to which all of the filter applies, From and To included; with nothing set, all.
type ReplayOrder struct {
	IDs    []string
	From   string // the first, in the order of a list; need not be there
	To     string // the last
	Filter DeadLetterFilter
	// Force replays those that are out of date as well.
	Force bool
	// DryRun tells what would come, and changes nothing.
	DryRun bool
}

// ReplayReport is what became of the dead letters of a ReplayOrder, or would.
type ReplayReport struct {
	Pipeline string `json:"pipeline"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Replayed int    `json:"replayed"` // their rows are in the sink
	Dropped  int    `json:"dropped"`  // a step left their rows out; they are gone
	Refused  int    `json:"refused"`  // again, and still dead letters
	Stale    int    `json:"stale"`    // a newer row of the key came through; left as they are
	Gone     int    `json:"gone"`     // were not there any more
	NoStep   int    `json:"no_step"`  // of a step that the pipeline has no more; left as they are
	// DeadLetters are at most 1,000 of those that were not replayed; of a dry run, of
	// all, with what would be published.
	DeadLetters []ReplayedLetter `json:"dead_letters,omitempty"`
}

// ReplayedLetter is one dead letter of a ReplayReport.
type ReplayedLetter struct {
	ID       string            `json:"id"`
	Outcome  string            `json:"outcome"` // replayed, dropped, refused, stale, gone, no_step
	Reason   string            `json:"reason,omitempty"`
	Messages []ReplayedMessage `json:"messages,omitempty"`
}

// ReplayedMessage is a message that a dry run would publish.
type ReplayedMessage struct {
	Subject string `json:"subject"`
	Key     string `json:"key,omitempty"`
	Body    string `json:"body"`
}

// DeadLetterPage is some dead letters, in the order of step, transaction and row.
type DeadLetterPage struct {
	DeadLetters []DeadLetter `json:"dead_letters"`
	// Next continues the list when it is given as after; empty at the end. A page
	// may be short, or empty, and have a Next.
	Next string `json:"next,omitempty"`
	// Kept is how many the pipeline keeps, whatever the filter.
	Kept int `json:"kept"`
}
