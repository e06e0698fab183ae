package scan

import "strings"

// contained reports whether a predicate stays within the parentheses that are
// put around it: `a) OR (b` would make a chunk read rows beyond its range. Text is
// quoted as in a session with an empty sql_mode. Comments that the server
// executes are not contained.
func contained(where string) bool {
	depth := 0
	for i := 0; i < len(where); {
		rest := where[i:]
		switch c := where[i]; {
		case c == '\'' || c == '"' || c == '`':
			n := quoted(rest)
			if n == 0 {
				return false
			}
			i += n
			continue
		case strings.HasPrefix(rest, "/*!"), strings.HasPrefix(rest, "/*M!"):
			return false
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return false
			}
			i += n + 4
			continue
		case c == '#', strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				return depth == 0
			}
			i += n
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				return false
			}
		}
		i++
	}
	return depth == 0
}

// quoted returns the length of the quoted text with which s begins; 0 if it does
// not end. A doubled quote is a second text, which does no harm here.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] != '`':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return 0
}
