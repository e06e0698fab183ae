package catalog

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed all:*/dist
var dist embed.FS

// Names returns the connectors that are in this binary, sorted.
func Names() []string {
	files, _ := fs.Glob(dist, "*/dist/*.wasm") // the pattern is right, so no error
	names := make([]string, 0, len(files))
	for _, f := range files {
		if name := strings.TrimSuffix(path.Base(f), ".wasm"); f == file(name) {
			names = append(names, name)
		}
	}
	return names
}

// Module returns a shipped connector's module. The error is fs.ErrNotExist for
// a connector that is not in this binary.
func Module(name string) ([]byte, error) { return dist.ReadFile(file(name)) }

func file(name string) string { return name + "/dist/" + name + ".wasm" }
