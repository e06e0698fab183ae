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
	// Stream is what the sink's last look over its stream found; nil before the
	// first, and for sinks without one.
	Stream *Stream `json:"stream,omitempty"`

	// Rows of the pipeline since its first start; restarts don't reset them.
	RowsIn      uint64 `json:"rows_in"`
	RowsOut     uint64 `json:"rows_out"`
	RowsDropped uint64 `json:"rows_dropped"` // by steps that leave rows out
	RowsSkipped uint64 `json:"rows_skipped"` // refused by a step whose on_error is skip
	DeadLetters uint64 `json:"dead_letters"`
	// DeadLettersKept is how many are there now, to be looked at.
	DeadLettersKept int `json:"dead_letters_kept"`
	// Replays is how many replays of dead letters the sink has confirmed since the first start.
	Replays uint64 `json:"replays"`

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
	// Schedule is of a pipeline that runs by one; nil for others.
	Schedule *Schedule `json:"schedule,omitempty"`
}

// Schedule is when a pipeline runs, and how its runs went.
type Schedule struct {
	At       string     `json:"at"` // as it is written: "@every 15m"
	Timezone string     `json:"timezone,omitempty"`
	Next     *time.Time `json:"next,omitempty"` // when the next run is due; while one goes, the one behind it
	Running  bool       `json:"running"`
	Last     *Run       `json:"last,omitempty"` // the run that goes, or went last
	// Since the pipeline's first start; restarts don't reset them.
	OK      uint64 `json:"ok"`
	Failed  uint64 `json:"failed"`
	Skipped uint64 `json:"skipped"` // due while the one before still went
	Missed  uint64 `json:"missed"`  // due while cdcd was not there
}

// The words that Run.Result may be.
const (
	RunGoes   = "running" // or was interrupted: it is gone on with
	RunOK     = "ok"
	RunFailed = "failed"
)

// Run is one run of a pipeline with a schedule.
type Run struct {
	Run         uint64     `json:"run"` // its number, which its messages carry
	Due         time.Time  `json:"due"`
	Began       time.Time  `json:"began"`
	Ended       *time.Time `json:"ended,omitempty"`
	TookSeconds float64    `json:"took_seconds"` // 0 while it goes
	Result      string     `json:"result"`
	Rows        uint64     `json:"rows"`     // read of tables, since the process started
	Messages    uint64     `json:"messages"` // of rows, that the sink has confirmed
	Code        string     `json:"code,omitempty"`
	Reason      string     `json:"reason,omitempty"`
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
	// Snapshot is nil for a source that copies no tables.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
}

// Snapshot is how far the copy of tables has come.
type Snapshot struct {
	Complete bool            `json:"complete"`
	Waiting  string          `json:"waiting,omitempty"` // why reading pauses
	Rows     uint64          `json:"rows"`              // read since the process started
	Copied   int             `json:"tables_copied"`     // likewise
	Left     int             `json:"tables_left"`       // not begun yet
	Tables   []SnapshotTable `json:"tables,omitempty"`  // begun and not finished
	Request  string          `json:"request,omitempty"` // the snapshot that was asked for whose tables these are
}

// SnapshotTable is how far the copy of one table has come.
type SnapshotTable struct {
	Table         string  `json:"table"` // "db.table"
	Rows          uint64  `json:"rows"`
	RowsEstimated uint64  `json:"rows_estimated"` // in all
	Chunks        uint64  `json:"chunks"`
	RowsPerSecond float64 `json:"rows_per_second"`
	LeftSeconds   float64 `json:"left_seconds"` // 0 while not known
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
	Delivery string `json:"delivery,omitempty"` // "exactly_once" or "at_least_once"; empty where the kind has but one
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}
