package golden

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed *.wasm abi1/*.wasm
var files embed.FS

// Guest is one module, stamped with its manifest.
type Guest struct {
	Language string // one of Languages
	Module   []byte
}

// Languages are those that there is a golden guest in. Each names the folder of
// its sources in sdk.
func Languages() []string { return []string{"c", "rust", "assemblyscript"} }

// Guests returns the modules as they are built now.
func Guests() []Guest { return read(".") }

// ABI1 returns the first modules that were built for cdcd-abi-1.
func ABI1() []Guest { return read("abi1") }

func read(dir string) []Guest {
	var list []Guest
	for _, language := range Languages() {
		module, err := files.ReadFile(path.Join(dir, language+".wasm"))
		if err != nil {
			panic(err) // it is in the binary
		}
		list = append(list, Guest{language, module})
	}
	return list
}

// Built says what a module was built from, and that it is that module: SHA-256
// in hex. built.json has it by language.
type Built struct {
	Sources string `json:"sources"` // Digest of the folder
	Module  string `json:"module"`
}

// Digest returns the SHA-256, in hex, of the names and contents of the files in a
// folder of sources: all but its README and what tools leave there.
func Digest(sources fs.FS) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(sources, ".", func(name string, d fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (base == "target" || base == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || base == "README.md" || strings.Contains(base, "lock"):
			return nil
		}
		p, err := fs.ReadFile(sources, name)
		if err == nil {
			fmt.Fprintf(hash, "%s %d\n%s", name, len(p), p)
		}
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}
