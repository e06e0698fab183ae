package checkup

import "fmt"

// Level says how a check came out.
type Level uint8

// The levels, from good to bad.
const (
	OK      Level = iota // as it should be
	Skipped              // could not be looked at; Why says the reason
	Warning              // works, and weakens a promise
	Failed               // does not work
)

var levelNames = [...]string{"ok", "skipped", "warning", "failed"}

// String returns "ok", "skipped", "warning" or "failed".
func (l Level) String() string { return levelNames[l] }

// MarshalText gives a level its name in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Result is the outcome of one check.
type Result struct {
	// Check names it, the same for ever: "binlog_row_image".
	Check string `json:"check"`
	Level Level  `json:"level"`
	// Found is what was seen: "binlog_row_image is MINIMAL".
	Found string `json:"found"`
	// Why says what it does to the user, for all but OK.
	Why string `json:"why,omitempty"`
	// Fix is what mends it, in order: statements for the server where SQL is
	// enough, otherwise instructions. Never empty for Failed.
	Fix []string `json:"fix,omitempty"`
	// SQL says that Fix is statements, to be run as they are.
	SQL bool `json:"sql,omitempty"`
	// Restart says that the server must be restarted for it.
	Restart bool `json:"restart,omitempty"`
}

// Ok is the result of a check that found all well.
func Ok(check, format string, args ...any) Result {
	return Result{Check: check, Level: OK, Found: fmt.Sprintf(format, args...)}
}

// Worst returns the worst level of all; OK for none.
func Worst(results []Result) Level {
	worst := OK
	for _, r := range results {
		worst = max(worst, r.Level)
	}
	return worst
}
