package telemetry

import "time"

// Status is one pipeline at one moment.
type Status struct {
	Pipeline string    `json:"pipeline"`
	State    string    `json:"state"` // a word: "streaming", "halted"
	Reason   string    `json:"reason,omitempty"`
	Code     string    `json:"code,omitempty"` // of the fault behind the state, for cdcd explain
	Since    time.Time `json:"since"`
	// Ready says that the state is one in which data flows or could flow.
	Ready bool `json:"ready"`

	Source Source `json:"source"`
	Sink   Sink   `json:"sink"`

	// Rows of the pipeline since its first start; restarts don't reset them.
	RowsIn      uint64 `json:"rows_in"`
	RowsOut     uint64 `json:"rows_out"`
	RowsDropped uint64 `json:"rows_dropped"` // by steps that leave rows out
	RowsSkipped uint64 `json:"rows_skipped"` // refused by a step whose on_error is skip
	DeadLetters uint64 `json:"dead_letters"`

	// LagSeconds is how old the oldest change is that waits for the sink's
	// confirmation; without one, how long after its commit the last was confirmed.
	LagSeconds   float64   `json:"lag_seconds"`
	Delivery     Delivery  `json:"delivery"`
	Restarts     uint64    `json:"restarts"`
	CheckpointAt time.Time `json:"checkpoint_at"` // zero before the first
	GuestBytes   int64     `json:"guest_bytes"`   // linear memory of the steps
	BudgetBytes  int64     `json:"budget_bytes"`  // held by batches in flight
	// Gaps are the parts of the log that were not delivered and can't be had any
	// more, over all runs.
	Gaps []Gap `json:"gaps,omitempty"`
	// Receipts are what the steps gave back when they ended.
	Receipts any `json:"receipts,omitempty"`
	// Connectors are the metrics that the steps' connectors keep.
	Connectors []ConnectorMetric `json:"connectors,omitempty"`
}

// Kinds of connectors' metrics.
const (
	Counter   = "counter"
	Gauge     = "gauge"
	Histogram = "histogram"
)

// ConnectorMetric is a metric of a step's connector.
type ConnectorMetric struct {
	Step  string  `json:"step"`
	Name  string  `json:"name"`
	Kind  string  `json:"kind"`
	Value float64 `json:"value"` // of a histogram, the sum
	// Bounds and Counts are of a histogram: how many values lie at or below each
	// bound and above the one before, and at the end above the last.
	Bounds []float64 `json:"bounds,omitempty"`
	Counts []uint64  `json:"counts,omitempty"`
}

// Delivery is how long batches took from being read off the log to the sink's
// confirmation. Last and the quantiles are of the last 128 batches.
type Delivery struct {
	Batches uint64  `json:"batches"` // since the process started
	Sum     float64 `json:"sum_seconds"`
	Last    float64 `json:"last_seconds"`
	P50     float64 `json:"p50_seconds"`
	P99     float64 `json:"p99_seconds"`
}

// Source is what a pipeline's source has done since the process started.
type Source struct {
	Kind         string `json:"kind"`
	State        string `json:"state"`            // "streaming", "reconnecting", "source_behind", ...
	Reason       string `json:"reason,omitempty"` // of another state than streaming
	Server       string `json:"server,omitempty"` // that is read, or was last: "db1:3306"
	Connected    bool   `json:"connected"`
	Position     string `json:"position"` // for people: "binlog.000007:4711"
	Rows         uint64 `json:"rows"`
	Bytes        uint64 `json:"bytes"`
	Transactions uint64 `json:"transactions"`
	Reconnects   uint64 `json:"reconnects"`
	// RetentionSeconds is how long the server still keeps what is not read yet;
	// nil when it keeps it for ever or does not say.
	RetentionSeconds *float64 `json:"retention_seconds,omitempty"`
}

// Gap is a part of a log whose changes were not delivered.
type Gap struct {
	Cause  string    `json:"cause"` // a fault's code
	From   string    `json:"from"`  // the last exact position before it
	To     string    `json:"to,omitempty"`
	Place  string    `json:"place,omitempty"`
	Tx     string    `json:"tx,omitempty"`
	Tables []string  `json:"tables,omitempty"` // empty: each followed one may be concerned
	Detail string    `json:"detail,omitempty"`
	Time   time.Time `json:"time"`
}

// Sink is what was published since the process started.
type Sink struct {
	Kind     string `json:"kind"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}
