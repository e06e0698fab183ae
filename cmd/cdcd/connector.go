package main

import (
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
)

func checkStep(config.Step) []*fault.Fault { return nil }
