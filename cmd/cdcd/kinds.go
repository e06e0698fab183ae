package main

import (
	catalog "github.com/cdcd-io/cdcd/connectors-wasm"
	"github.com/cdcd-io/cdcd/runtime/config"
)

// configOptions say what a configuration may refer to in this binary.
func configOptions() config.Options {
	o := config.Options{Connectors: catalog.Names(), CheckStep: checkStep}
	for _, k := range sources() {
		o.Sources = append(o.Sources, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	for _, k := range sinks() {
		o.Sinks = append(o.Sinks, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	for _, k := range formats() {
		o.Formats = append(o.Formats, config.Kind{Name: k.Name, NewConfig: k.NewConfig})
	}
	return o
}
