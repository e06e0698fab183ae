package wasm

import (
	"context"
	"sync/atomic"

	"github.com/cdcd-io/cdcd/sdk"
)

// Module is one hold on a loaded module. Several Modules may share the code;
// closing one twice takes nothing from the others.
type Module struct {
	host   *Host
	code   *code
	closed atomic.Bool
}

// Manifest returns what the module says of itself.
func (m *Module) Manifest() sdk.Manifest { return m.code.manifest }

// Digest returns the SHA-256 of the module's bytes, as 64 hex digits.
func (m *Module) Digest() string { return m.code.digest }

// Imports returns the capabilities that the module imports, such as "log".
func (m *Module) Imports() []string {
	var grants []string
	seen := map[string]bool{}
	for _, im := range m.code.vetted.imports {
		if c, ok := capabilities[im.module]; ok && !seen[c.grant] {
			seen[c.grant] = true
			grants = append(grants, c.grant)
		}
	}
	return grants
}

// Close gives the hold up. The code stays as long as others, or instances, need it.
func (m *Module) Close(ctx context.Context) error {
	if m.closed.Swap(true) {
		return nil
	}
	return m.host.drop(ctx, m.code)
}
