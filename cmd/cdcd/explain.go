package main

import (
	"strings"

	"github.com/cdcd-io/cdcd/docs"
	"github.com/cdcd-io/cdcd/internal/fault"
)

type explainCmd struct {
	Code string `arg:"" help:"A fault's code, such as binlog_purged; \"list\" lists all."`
}

// Run prints what the documentation says of a code.
func (e *explainCmd) Run(out *console) error {
	all := docs.Errors()
	if e.Code == "list" {
		return listCodes(out, all)
	}
	for _, x := range all {
		if x.Code != strings.ToLower(strings.Trim(e.Code, "[]")) {
			continue
		}
		if out.json {
			out.object(x)
			return nil
		}
		out.line("%s (%s)\n\n%s\n\nWay out: %s", x.Code, x.Class, x.Meaning, x.WayOut)
		return nil
	}
	return fault.New(fault.Config, "unknown_code", "", "cdcd explain list prints all codes", "no fault has the code %q", e.Code)
}

func listCodes(out *console, all []docs.Explanation) error {
	if out.json {
		out.object(all)
		return nil
	}
	for _, x := range all {
		first, _, _ := strings.Cut(x.Meaning, ". ")
		out.line("%-32s %-12s %s", x.Code, x.Class, strings.TrimSuffix(first, "."))
	}
	return nil
}
