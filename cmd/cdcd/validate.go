package main

import (
	"errors"
	"fmt"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
)

type validateCmd struct {
	Files []string `arg:"" name:"config" help:"Configuration files."`
}

// validatedFile is one file's outcome for programs.
type validatedFile struct {
	File      string        `json:"file"`
	OK        bool          `json:"ok"`
	Pipelines int           `json:"pipelines"`
	Findings  []findingJSON `json:"findings"`
}

type findingJSON struct {
	Line   int `json:"line"`
	Column int `json:"column"`
	faultJSON
}

// Run checks every file, prints everything that is wrong, and fails if any is.
func (v *validateCmd) Run(out *console) error {
	var all []validatedFile
	worst := 0
	for _, file := range v.Files {
		r := validatedFile{File: file, Findings: []findingJSON{}}
		c, err := config.Load(file, configOptions())
		switch findings := (config.Findings)(nil); {
		case err == nil:
			r.OK, r.Pipelines = true, len(c.Pipelines)
			out.line("%s: ok, %s", file, plural(len(c.Pipelines), "pipeline"))
		case errors.As(err, &findings):
			for _, f := range findings {
				r.Findings = append(r.Findings, findingJSON{f.Line, f.Column, describe(f.Fault)})
			}
		default:
			r.Findings = append(r.Findings, findingJSON{0, 0, describe(fault.Of(err))})
		}
		if err != nil {
			worst = 2
			for _, f := range r.Findings {
				out.line("%s: %s [%s]\n    %s", f.Path, f.Message, f.Code, f.Hint)
			}
			out.line("%s: %s", file, plural(len(r.Findings), "finding"))
		}
		all = append(all, r)
	}
	if out.json {
		out.object(struct {
			OK    bool            `json:"ok"`
			Files []validatedFile `json:"files"`
		}{worst == 0, all})
	}
	if worst != 0 {
		return errShown{worst}
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
