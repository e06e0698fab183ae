package config

import (
	"bytes"
	"os"
	"regexp"
	"strings"
)

// placeholder is ${env:NAME}, ${env:NAME|default} or ${file:/path}, alone.
var placeholder = regexp.MustCompile(`(?s)^\$\{(env|file):([^}|]*)(\|([^}]*))?\}$`)

// secretBytesMax bounds a file that ${file:...} reads.
const secretBytesMax = 1 << 20

// expand replaces placeholders in whole text values, after parsing: what comes
// from the environment is one value, whatever characters it has.
func (l *loader) expand(n *node) {
	if n == nil {
		return
	}
	for _, item := range n.items {
		l.expand(item)
	}
	for _, e := range n.entries {
		l.expand(e.node)
	}
	if n.kind != textNode || n.expanded || !strings.Contains(n.text, "${") {
		return
	}
	m := placeholder.FindStringSubmatch(n.text)
	if m == nil {
		if strings.Contains(n.text, "${env:") || strings.Contains(n.text, "${file:") {
			l.add(n.line, n.col, CodePlaceholder, "put the whole value into the variable or file, and write only ${env:NAME} here",
				"a placeholder must be the whole value")
		}
		return
	}
	from, name, hasDefault, value := m[1], m[2], m[3] != "", m[4]
	n.expanded = true
	switch from {
	case "env":
		if v, ok := l.getenv(name); ok {
			value = v
		} else if !hasDefault {
			l.add(n.line, n.col, CodeEnvMissing, "set it, or write ${env:"+name+"|default}", "the environment variable %s is not set", name)
			l.unknown[n] = true
		}
	case "file":
		text, err := readFile(l.path(name))
		switch {
		case err == nil:
			value = text
		case !hasDefault:
			l.add(n.line, n.col, CodeFileUnreadable, "create it, or allow this user to read it", "%w", err)
			l.unknown[n] = true
		}
	}
	n.text = value
}

// readFile returns a file's text without its last newline.
func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(limited(f, secretBytesMax)); err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(b.String(), "\n"), "\r"), nil
}
