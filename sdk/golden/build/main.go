package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cdcd-io/cdcd/sdk/golden"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// assemblyScript is the package of the compiler. Its version is exact, and so
// are those of what it depends on.
const assemblyScript = "assemblyscript@0.28.20"

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func build() error {
	work, err := os.MkdirTemp("", "cdcd-guests-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	compilers := map[string]func(work, out string) error{"c": buildC, "rust": buildRust, "assemblyscript": buildAssemblyScript}
	built := map[string]golden.Built{}
	for _, language := range golden.Languages() {
		out := filepath.Join(work, language+".wasm")
		if err := compilers[language](work, out); err != nil {
			return fmt.Errorf("%s: %w", language, err)
		}
		module, err := stamp(language, out)
		if err != nil {
			return fmt.Errorf("%s: %w", language, err)
		}
		sources, err := golden.Digest(os.DirFS(filepath.Join("sdk", language)))
		if err != nil {
			return err
		}
		built[language] = golden.Built{Sources: sources, Module: fmt.Sprintf("%x", sha256.Sum256(module))}
	}
	text, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("sdk", "golden", "built.json"), append(text, '\n'), 0o644)
}

// stamp puts the manifest into a module and the module into sdk/golden.
func stamp(language, out string) ([]byte, error) {
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join("sdk", language, "upper", "manifest.json"))
	if err != nil {
		return nil, err
	}
	if module, err = manifest.Append(module, text); err != nil {
		return nil, err
	}
	path := filepath.Join("sdk", "golden", language+".wasm")
	fmt.Printf("%s: %d bytes\n", path, len(module))
	return module, os.WriteFile(path, module, 0o644)
}

// run runs a compiler in a folder of sdk.
func run(folder, env, name string, args ...string) error {
	cmd := exec.Command(cmp.Or(os.Getenv(env), name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join("sdk", folder), os.Stdout, os.Stderr
	return cmd.Run()
}

func buildC(work, out string) error {
	object := filepath.Join(work, "upper.o")
	err := run("c", "CLANG", "clang", "--target=wasm32", "-O2", "-mbulk-memory", "-Wall", "-Wextra", "-Werror",
		"-c", "-o", object, "upper/upper.c")
	if err != nil {
		return err
	}
	return run("c", "WASM_LD", "wasm-ld", "--no-entry", "--strip-all", "-z", "stack-size=16384", "-o", out, object)
}

func buildRust(work, out string) error {
	lib := filepath.Join(work, "libcdcd.rlib")
	flags := []string{"--edition", "2021", "--target", "wasm32-unknown-unknown", "-C", "opt-level=3", "-C", "panic=abort", "-C", "codegen-units=1"}
	err := run("rust", "RUSTC", "/usr/bin/rustc", append(flags, "-C", "embed-bitcode=yes", "--crate-type", "rlib", "--crate-name", "cdcd",
		"-o", lib, "src/lib.rs")...)
	if err != nil {
		return err
	}
	return run("rust", "RUSTC", "/usr/bin/rustc", append(flags, "-C", "lto=fat", "-C", "strip=symbols", "-C", "link-arg=-zstack-size=16384",
		"--crate-type", "cdylib", "--crate-name", "upper", "--extern", "cdcd="+lib, "-o", out, "upper/src/lib.rs")...)
}

func buildAssemblyScript(work, out string) error {
	tools := filepath.Join(work, "npm")
	if err := run("assemblyscript", "NPM", "npm", "install", "--silent", "--no-save", "--prefix", tools, assemblyScript); err != nil {
		return err
	}
	return run("assemblyscript", "ASC", filepath.Join(tools, "node_modules", ".bin", "asc"), "upper/upper.ts",
		"-O3", "--converge", "--runtime", "stub", "--use", "abort=", "--noAssert", "-o", out)
}
