package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/cdcd-io/cdcd/sdk/manifest"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: stamp MODULE.wasm MANIFEST.json")
		os.Exit(2)
	}
	if err := stamp(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "stamp:", err)
		os.Exit(1)
	}
}

func stamp(modulePath, manifestPath string) error {
	module, err := os.ReadFile(modulePath)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(manifestPath)
	if err != nil {
		return err
	}
	stamped, err := manifest.Append(module, text)
	if err != nil {
		return fmt.Errorf("%s: %w", manifestPath, err)
	}
	if bytes.Equal(stamped, module) { // somebody else may be building with it
		return nil
	}
	return os.WriteFile(modulePath, stamped, 0o644)
}
