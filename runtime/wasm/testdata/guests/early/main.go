// Command early is a connector that prints before it is configured, for the
// host's tests.
package main

import (
	"fmt"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
)

type early struct{}

func (early) Init([]byte) error                       { return nil }
func (early) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }
func (early) Row(sdk.Row, *guest.Output) (sdk.Verdict, error) {
	return sdk.VerdictPass, nil
}

var _ = guest.Register(early{})

var _, _ = fmt.Println("early words")

func main() {}
