// Command logger is a connector that logs, for the host's tests.
package main

import (
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/guest/log"
)

type logger struct{}

func (logger) Init([]byte) error                       { return nil }
func (logger) Schema(*sdk.Schema) (*sdk.Schema, error) { return nil, nil }
func (logger) Row(sdk.Row, *guest.Output) (sdk.Verdict, error) {
	log.Print(log.Warn, "a row came")
	return sdk.VerdictPass, nil
}

var _ = guest.Register(logger{})

func main() {}
