package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"strings"

	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

type connectorCmd struct {
	List    connectorListCmd    `cmd:"" help:"List the shipped connectors."`
	Inspect connectorInspectCmd `cmd:"" help:"Print what a module is, asks for and costs, without compiling or running it."`
}

type connectorListCmd struct{}

// connectorJSON is a module for programs.
type connectorJSON struct {
	sdk.Manifest
	Bytes  int    `json:"bytes"`
	Digest string `json:"sha256"`
}

// Run lists the connectors that are in this binary.
func (connectorListCmd) Run(out *console) error {
	all := []connectorJSON{}
	for _, name := range catalog.Names() {
		module, err := catalog.Module(name)
		if err != nil {
			return err
		}
		c, err := inspect(name, module)
		if err != nil {
			return err
		}
		all = append(all, c)
		out.line("%-12s %-9s %s", c.Name, c.Version, c.Summary)
	}
	if out.json {
		out.object(all)
	}
	if len(all) == 0 {
		out.line("This binary holds no connectors: it was built without them. make build builds both.")
	}
	return nil
}

type connectorInspectCmd struct {
	Module string `arg:"" help:"A shipped connector's name, or a .wasm file."`
}

// Run prints what a module is, asks for and costs.
func (c *connectorInspectCmd) Run(out *console) error {
	m, err := config.ParseModule(c.Module, ".")
	if err != nil {
		return fault.New(fault.Config, config.CodeBadValue, "", "name a shipped connector or a .wasm file", "%w", err)
	}
	module, err := readModule(m)
	if err != nil {
		return err
	}
	x, err := wasm.Inspect(module)
	if err != nil {
		return at(c.Module, fault.Of(err))
	}
	if out.json {
		out.object(x)
	} else {
		printInspection(out, x)
	}
	return nil
}

func orWord(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
}

// readModule returns the bytes of a module that a configuration names.
func readModule(m config.Module) ([]byte, error) {
	if m.File == "" {
		module, err := catalog.Module(m.Name)
		if err != nil {
			return nil, fault.New(fault.Config, config.CodeUnknownConnector, m.Ref,
				"cdcd connector list prints those that it holds; if there are none: make connectors, then build again",
				"no connector %q is shipped with this cdcd", m.Name)
		}
		return module, checkDigest(m, module)
	}
	module, err := os.ReadFile(m.File)
	if err != nil {
		return nil, fault.New(fault.Config, config.CodeModuleMissing, m.Ref, "build it, or correct the path", "%w", err)
	}
	return module, checkDigest(m, module)
}

func checkDigest(m config.Module, module []byte) error {
	if got := digestOf(module); m.Digest != "" && m.Digest != got {
		return fault.New(fault.Config, config.CodeDigestMismatch, m.Ref,
			"if the change is wanted, write @sha256:"+got, "%s has another digest than the one written", m.Name)
	}
	return nil
}

func digestOf(module []byte) string {
	sum := sha256.Sum256(module)
	return hex.EncodeToString(sum[:])
}

func inspect(path string, module []byte) (connectorJSON, error) {
	m, err := manifest.Read(module)
	switch {
	case errors.Is(err, manifest.ErrModule):
		return connectorJSON{}, fault.New(fault.Config, config.CodeNotWasm, path, "name a .wasm file that was built for cdcd", "%w", err)
	case errors.Is(err, manifest.ErrMissing):
		return connectorJSON{}, fault.New(fault.Config, "module_lacks_manifest", path,
			"stamp the manifest into the module: go run ./sdk/manifest/stamp MODULE.wasm manifest.json", "%w", err)
	case err != nil:
		return connectorJSON{}, fault.New(fault.Config, "module_manifest", path, "correct the manifest and stamp it again", "%w", err)
	}
	return connectorJSON{m, len(module), digestOf(module)}, nil
}
