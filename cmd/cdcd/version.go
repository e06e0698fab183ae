package main

import (
	"runtime"
	"runtime/debug"

	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/sdk"
)

type versionCmd struct{}

// Run prints what this binary is and what it holds.
func (*versionCmd) Run(out *console) error {
	v := struct {
		Version    string   `json:"version"`
		Commit     string   `json:"commit,omitempty"`
		Go         string   `json:"go"`
		OS         string   `json:"os"`
		Arch       string   `json:"arch"`
		ABI        uint16   `json:"connector_abi"`
		Connectors []string `json:"connectors"`
	}{version, "", runtime.Version(), runtime.GOOS, runtime.GOARCH, sdk.ABI, catalog.Names()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	if out.json {
		out.object(v)
		return nil
	}
	out.line("cdcd %s %s/%s %s connector abi %d", v.Version, v.OS, v.Arch, v.Go, v.ABI)
	return nil
}
