package main

import (
	"testing"

	"github.com/cdcd-io/cdcd/sdk/guest"
	"github.com/cdcd-io/cdcd/sdk/sdktest"
)

func TestCases(t *testing.T) {
	sdktest.Run(t, func() guest.Connector { return &upper{} }, "testdata/*.json")
}
