// Package config reads the configuration: it parses YAML, expands ${env:X} and
// ${file:/path} in whole values, decodes strictly and finds everything that is
// wrong at once, each finding with its line, its column and the way out.
//
// A kind of source or sink owns its configuration struct; this package decodes
// the key's subtree into it by its yaml tags and asks its Validate method.
//
// Neighbours: cmd/cdcd passes the kinds and prints the findings; runtime builds
// pipelines from the Config. This package imports internal/ only.
package config
