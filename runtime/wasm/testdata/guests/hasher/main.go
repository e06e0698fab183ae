// Command hasher is a connector that puts the length and the SHA-256 of each
// row's second column in its place, large or not, for the host's tests.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/value"
)

type hasher struct{}

func (h *hasher) Init([]byte) error { return nil }

func (h *hasher) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }

func (h *hasher) Row(r sdk.Row, _ *guest.Output) (sdk.Verdict, error) {
	v := value.NewReader(r.After(), 1)
	sum := sha256.New()
	if _, err := io.Copy(sum, v); err != nil {
		return 0, err
	}
	return sdk.VerdictEdited, r.After().SetBytes(1, fmt.Appendf(nil, "%d %x", v.Len(), sum.Sum(nil)))
}

var _ = guest.Register(&hasher{})

func main() {}
