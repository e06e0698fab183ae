package config

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Codes of the faults of this package, all of class Config.
const (
	CodeUnreadable       = "config_unreadable"
	CodeSyntax           = "config_syntax"
	CodeUnknownKey       = "config_unknown_key"
	CodeDuplicateKey     = "config_duplicate_key"
	CodeMissingKey       = "config_missing_key"
	CodeWrongType        = "config_wrong_type"
	CodeBadValue         = "config_bad_value"
	CodeEnvMissing       = "config_env_missing"
	CodeFileUnreadable   = "config_file_unreadable"
	CodePlaceholder      = "config_placeholder"
	CodeUnknownKind      = "config_unknown_kind"
	CodeBadName          = "config_bad_name"
	CodeDuplicateName    = "config_duplicate_name"
	CodeDuplicateStream  = "config_duplicate_stream"
	CodeUnknownConnector = "config_unknown_connector"
	CodeModuleMissing    = "config_module_missing"
	CodeNotWasm          = "config_not_wasm"
	CodeDigestMismatch   = "config_digest_mismatch"
	CodeVersion          = "config_version"
	CodeNotScheduled     = "config_not_scheduled"
)

// Finding is one thing that is wrong, with its place in the file.
type Finding struct {
	File         string
	Line, Column int
	Fault        *fault.Fault
}

// Findings is everything that is wrong with a configuration, in the order of
// the file. It is an error whose faults are reachable by errors.Is and As.
type Findings []Finding

// Error prints one finding a line.
func (f Findings) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults.
func (f Findings) Unwrap() []error {
	errs := make([]error, len(f))
	for i := range f {
		errs[i] = f[i].Fault
	}
	return errs
}

// add notes a finding at a place.
func (l *loader) add(line, col int, code, hint, format string, args ...any) {
	l.addFault(line, col, fault.New(fault.Config, code, "", hint, format, args...))
}

func (l *loader) addFault(line, col int, f *fault.Fault) {
	f.Path = fmt.Sprintf("%s:%d:%d", l.file, line, col)
	l.found = append(l.found, Finding{File: l.file, Line: line, Column: col, Fault: f})
}

// result returns the findings in the order of the file, or nil.
func (l *loader) result() error {
	if len(l.found) == 0 {
		return nil
	}
	sort.SliceStable(l.found, func(i, j int) bool {
		a, b := l.found[i], l.found[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	return l.found
}

// nearest returns the candidate that a misspelt name most likely meant, or "".
func nearest(name string, candidates []string) string {
	best, bestDistance := "", len(name)/2+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of edits between two words; two neighbours that
// changed places are one edit.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var rows [3][65]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur, prev, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}

// didYouMean is the hint for a name that is not known.
func didYouMean(name string, candidates []string) string {
	sort.Strings(candidates)
	if n := nearest(name, candidates); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(candidates) == 0 {
		return "remove it"
	}
	return "known here: " + strings.Join(candidates, ", ")
}

// limited reads at most n bytes and fails on more, rather than cutting.
func limited(r io.Reader, n int64) io.Reader { return &limitedReader{r, n} }

type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("the file is too large")
	}
	return n, err
}
