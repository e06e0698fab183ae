package main

import (
	"errors"
	"fmt"
	"time"

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
	Schedules []dueJSON     `json:"schedules,omitempty"`
}

// dueJSON is when a pipeline with a schedule is due next. One that is to run every
// so often begins when it is started for the first time, and has no Next here.
type dueJSON struct {
	Pipeline string     `json:"pipeline"`
	At       string     `json:"at"`
	Timezone string     `json:"timezone,omitempty"`
	Next     *time.Time `json:"next,omitempty"`
}

// schedules lists when pipelines are due, and prints it.
func schedules(out *console, c *config.Config, now time.Time) (all []dueJSON) {
	for _, p := range c.Pipelines {
		if p.Schedule == nil {
			continue
		}
		d := dueJSON{Pipeline: p.Name, At: p.Schedule.Times.String(), Timezone: p.Schedule.Timezone}
		when := "from its first start on"
		if p.Schedule.Times.Every() == 0 {
			next := p.Schedule.Times.Next(now, now)
			d.Next, when = &next, next.Format("next on Mon 2006-01-02 at 15:04 MST")
		}
		out.line("    %s: %s, %s", p.Name, d.At, when)
		all = append(all, d)
	}
	return all
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
			r.Schedules = schedules(out, c, time.Now())
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
