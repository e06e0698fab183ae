package config_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/runtime/config"
)

// Every finding names the way out.
func TestEveryFindingHasHint(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		_, err := config.Load(file, options())
		var found config.Findings
		errors.As(err, &found)
		for _, f := range found {
			if f.Fault.Hint == "" {
				t.Errorf("%v has no hint", f.Fault)
			}
		}
	}
}
