package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
	"github.com/cdcd-io/cdcd/runtime/wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

// checkStep vets a step's module without compiling or running it, checks that the
// step allows what it imports, and checks `with` by the schema in its manifest.
func checkStep(s config.Step) []*fault.Fault {
	module, err := readModule(s.Wasm)
	if err != nil {
		return []*fault.Fault{at("wasm", fault.Of(err))}
	}
	x, err := wasm.Inspect(module)
	if err != nil {
		return []*fault.Fault{at("wasm", fault.Of(err))}
	}
	return append(checkGrants(x, s.Allow), checkWith(x.Manifest, s.With)...)
}

// checkGrants finds the capabilities that a module imports and its manifest does
// not list, and those that the manifest lists and the step does not grant. One
// that is listed and never imported would load without it; that the author lists
// it is reason enough to ask.
func checkGrants(x *wasm.Inspection, allow []string) []*fault.Fault {
	var found []*fault.Fault
	seen := map[string]bool{}
	for _, im := range x.Imports {
		if im.Grant != "" && !im.Declared && !seen[im.Grant] {
			found = append(found, fault.New(fault.Config, "capability_not_declared", "wasm", "list the capability in the connector's manifest.json and stamp it anew",
				"the connector %s imports the capability %q, which its manifest does not list", x.Name, im.Grant))
		}
		seen[im.Grant] = true
	}
	for _, c := range x.Manifest.Capabilities {
		if !slices.Contains(allow, c) {
			found = append(found, fault.New(fault.Config, "capability_not_granted", "allow",
				"add the capability to the step: allow: ["+strings.Join(x.Manifest.Capabilities, ", ")+"]",
				"the connector %s needs the capability %q, which the step does not grant", x.Name, c))
		}
	}
	return found
}

func at(path string, f *fault.Fault) *fault.Fault {
	copied := *f
	copied.Path = path
	return &copied
}

// checkWith validates a connector's configuration by its own schema. A schema
// comes from an untrusted file: it may refer to nothing outside itself.
func checkWith(m sdk.Manifest, with []byte) []*fault.Fault {
	if m.ConfigSchema == nil {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(jsonschema.SchemeURLLoader{})
	err := c.AddResource("config.json", m.ConfigSchema)
	var schema *jsonschema.Schema
	if err == nil {
		schema, err = c.Compile("config.json")
	}
	if err != nil {
		return []*fault.Fault{fault.New(fault.Config, "module_manifest", "wasm",
			"correct config_schema in the connector's manifest", "the schema of its configuration can't be used: %w", err)}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(with))
	if err == nil {
		err = schema.Validate(value)
	}
	invalid, ok := err.(*jsonschema.ValidationError)
	switch {
	case err == nil:
		return nil
	case !ok:
		return []*fault.Fault{fault.New(fault.Config, "config_with", "with", "write keys with values", "%w", err)}
	}
	faults := leaves(m.Name, invalid, nil)
	// The schema's keys are checked in no particular order.
	slices.SortStableFunc(faults, func(a, b *fault.Fault) int { return strings.Compare(a.Path, b.Path) })
	return faults
}

// leaves returns one fault for each place that the schema refuses.
func leaves(connector string, e *jsonschema.ValidationError, faults []*fault.Fault) []*fault.Fault {
	for _, cause := range e.Causes {
		faults = leaves(connector, cause, faults)
	}
	if len(e.Causes) > 0 {
		return faults
	}
	path := strings.Builder{}
	path.WriteString("with")
	for _, part := range e.InstanceLocation {
		if strings.Trim(part, "0123456789") == "" && part != "" {
			fmt.Fprintf(&path, "[%s]", part)
		} else {
			path.WriteString("." + part)
		}
	}
	what := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	return append(faults, fault.New(fault.Config, "config_with", path.String(),
		"cdcd connector inspect "+connector+" --json prints the schema of its configuration",
		"%s refuses this: %s", connector, what))
}
