package telemetry

import "time"

// Checkpoint is what the local state knows of how far a pipeline has come.
type Checkpoint struct {
	Pipeline string `json:"pipeline"`
	// Time is when it was written; zero before the first.
	Time time.Time `json:"time"`
	// Position is exact: everything before it is delivered. The sink's own last
	// message says more, and decides.
	Position string `json:"position"`
	LogPos   string `json:"log_pos"` // Position for people
	Messages uint64 `json:"messages"`
	RowsIn   uint64 `json:"rows_in"`
	Restored bool   `json:"restored"` // from a copy, and not yet caught up with the sink
	// Ordered is where the next start is to go on instead, if a person has said so.
	Ordered string `json:"ordered,omitempty"`
	// What else is kept of the pipeline.
	DeadLetters int `json:"dead_letters"`
	Gaps        int `json:"gaps"`
}
