package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Module is a reference to a WebAssembly module.
type Module struct {
	Ref    string // as written: "mask", "./file.wasm", "mask@sha256:..."
	Name   string // the connector's name; of a file, its base name without .wasm
	File   string // path of a file; empty for a shipped connector
	Digest string // lower-case hex SHA-256 that the module must have; empty for any
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ParseModule reads a reference: a shipped connector's name, a path that ends
// in .wasm, either with @sha256: and 64 hex digits behind it. A relative path
// is taken from dir.
func ParseModule(ref, dir string) (Module, error) {
	m := Module{Ref: ref}
	rest := ref
	if at := strings.LastIndex(ref, "@"); at >= 0 {
		hex, ok := strings.CutPrefix(ref[at+1:], "sha256:")
		if !ok || !digestForm.MatchString(hex) {
			return m, fmt.Errorf("%q has no digest of the form @sha256: and 64 lower-case hex digits", ref)
		}
		rest, m.Digest = ref[:at], hex
	}
	if strings.HasSuffix(rest, ".wasm") {
		m.File = rest
		if !filepath.IsAbs(rest) {
			m.File = filepath.Join(dir, rest)
		}
		m.Name = strings.TrimSuffix(filepath.Base(rest), ".wasm")
		return m, nil
	}
	if !nameForm.MatchString(rest) {
		return m, fmt.Errorf("%q is neither a shipped connector's name nor a path that ends in .wasm", ref)
	}
	m.Name = rest
	return m, nil
}

// nameForm is what names of pipelines, steps and connectors look like: they
// become parts of subjects, keys and metrics.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// tableForm is a pattern of tables: two parts, each of any characters but a
// point, with * for any characters.
var tableForm = regexp.MustCompile(`^[^.\s]+\.[^\s]+$`)
