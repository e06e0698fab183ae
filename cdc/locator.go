package cdc

import (
	"context"

	"github.com/cdcd-io/cdcd/sdk"
)

// Locator is what a source has that finds a place in its log which a person
// names: one of its own positions, or what its configuration takes as a start.
type Locator interface {
	// Locate returns the exact position of the place, after checking that it can
	// be read from. Faults: start_invalid, position_invalid, position_purged, and
	// those of a server that can't be asked.
	Locate(ctx context.Context, place string) (sdk.Position, error)
}
