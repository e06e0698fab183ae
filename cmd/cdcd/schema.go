package main

import "github.com/cdcd-io/cdcd/runtime/config"

type schemaCmd struct{}

// Run prints the JSON Schema; it is JSON with and without --json.
func (*schemaCmd) Run(out *console) error {
	_, err := out.out.Write(config.Schema(configOptions()))
	return err
}
