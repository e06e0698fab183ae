package config

import (
	"reflect"

	"github.com/cdcd-io/cdcd/internal/schedule"
)

// Schedule says when a pipeline runs that ends by itself. As a text it is At
// alone.
type Schedule struct {
	At       string  `yaml:"at" doc:"@every 15m, @hourly, @daily, ..., or five fields as cron has them: minute, hour, day of the month, month, day of the week"`
	Timezone string  `yaml:"timezone" doc:"whose clock the fields are read by, such as Europe/Berlin; UTC by default"`
	Overlap  Overlap `yaml:"overlap" doc:"when a run is due while the one before still goes: skip it, or wait for that one and begin then"`
	CatchUp  bool    `yaml:"catch_up" doc:"run once at the start when runs were missed while cdcd was down"`
	// Times is what At and Timezone mean.
	Times schedule.Schedule `yaml:"-"`
}

// Overlap says what becomes of a run that is due while the one before goes.
type Overlap string

// The choices for a run that is due while the one before goes.
const (
	OverlapSkip Overlap = "skip" // the default
	OverlapWait Overlap = "wait"
)

// Ending is what a source's configuration has that can make a source which ends
// by itself, and does its work anew when it is run again: only such pipelines
// can have a schedule.
type Ending interface {
	// Ends reports whether it does.
	Ends() bool
}

const scheduleHint = `write "@every 15m", "@daily", or five fields such as "30 2 * * mon-fri"`

// schedule decodes a schedule; nil where it is not one.
func (l *loader) schedule(n *node) *Schedule {
	s := &Schedule{Overlap: OverlapSkip}
	at := n
	if n.isScalar() {
		l.decode(n, reflect.ValueOf(&s.At).Elem())
	} else {
		l.decode(n, reflect.ValueOf(s).Elem())
		if n.kind == listNode || l.need(n, "at", scheduleHint) == nil {
			return nil
		}
		at = n.child("at")
		l.oneOf(n.child("overlap"), string(s.Overlap), string(OverlapSkip), string(OverlapWait))
	}
	zone, err := schedule.Zone(s.Timezone)
	if z := n.child("timezone"); err != nil {
		if !l.unknown[z] && z.isScalar() {
			l.add(z.line, z.col, CodeBadValue, "write the name that the zone has in the IANA database: Europe/Berlin", "%q is not a time zone: %w", s.Timezone, err)
		}
		return nil
	}
	if l.unknown[at] || !at.isScalar() {
		return nil
	}
	if s.Times, err = schedule.Parse(s.At, zone); err != nil {
		l.add(at.line, at.col, CodeBadValue, scheduleHint, "%q is not a schedule: %w", s.At, err)
		return nil
	}
	return s
}

// scheduled refuses a schedule for a pipeline that does not end by itself.
func (l *loader) scheduled(e *entry, p Pipeline) {
	if e == nil || p.Source.Value == nil {
		return
	}
	if s, ok := p.Source.Value.(Ending); !ok || !s.Ends() {
		l.add(e.line, e.col, CodeNotScheduled, "set snapshot: only in the source, so that each run copies the tables and ends; or leave the schedule out",
			"a schedule is for pipelines that end by themselves, and this one runs until it is stopped")
	}
}
