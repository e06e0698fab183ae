package main

import (
	"fmt"

	"github.com/cdcd-io/cdcd/runtime/pipeline"
)

// receipt prints what a step gave back when it was unloaded.
func receipt(r pipeline.Receipt) string {
	if r.Error != "" {
		return r.Error
	}
	return fmt.Sprint(r.Receipt)
}
