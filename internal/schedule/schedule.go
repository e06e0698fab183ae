package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a container image without time zones has the same schedules

	"github.com/cdcd-io/cdcd/internal/unit"
)

// EveryMin is the least time of "@every": what is due more often is a stream.
const EveryMin = time.Second

// Schedule is a set of times. The zero Schedule has none; Parse makes others.
type Schedule struct {
	text  string
	every time.Duration // 0 for fields
	cron  fields
	zone  *time.Location
}

// names are the schedules that have one.
var names = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads a schedule: "@every" with a time of at least EveryMin, a name such
// as "@daily", or the five fields minute, hour, day of the month, month and day
// of the week. Fields are of the zone's clock; "@every" does not depend on it.
func Parse(text string, zone *time.Location) (Schedule, error) {
	s := Schedule{text: strings.Join(strings.Fields(text), " "), zone: zone}
	if rest, ok := strings.CutPrefix(s.text, "@every "); ok {
		var d unit.Duration
		if err := d.UnmarshalText([]byte(rest)); err != nil {
			return Schedule{}, err
		}
		if d.Std() < EveryMin {
			return Schedule{}, fmt.Errorf("%v is less than %v", d, EveryMin)
		}
		s.every = d.Std()
		return s, nil
	}
	spec := s.text
	if strings.HasPrefix(spec, "@") {
		if spec = names[spec]; spec == "" {
			return Schedule{}, fmt.Errorf("there is no schedule of the name %.50q", text)
		}
	}
	f, err := parseFields(spec)
	if err != nil {
		return Schedule{}, err
	}
	s.cron = f
	if s.Next(time.Time{}, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, errors.New("no calendar has such a day")
	}
	return s, nil
}

// Zone returns the time zone of an IANA name; the empty one is UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("another machine has another one")
	}
	return time.LoadLocation(name)
}

// String returns the schedule as it was written.
func (s Schedule) String() string { return s.text }

// Every returns the time of "@every"; 0 for other schedules.
func (s Schedule) Every() time.Duration { return s.every }

// Next returns the first time behind after; zero where there is none within
// yearsMax. The times of "@every" lie at whole multiples of it from anchor, on
// both sides; others have no use for anchor.
//
// Where the zone's clock is set forward, what would be due in the hour that is
// left out is due, once, when it is set. Where it is set back, times of the hour
// that comes twice are due the first time only; but a schedule of every hour
// goes on through both.
func (s Schedule) Next(anchor, after time.Time) time.Time {
	if s.every > 0 {
		gone := after.Sub(anchor)
		n := gone / s.every
		if gone < 0 && gone%s.every != 0 {
			n--
		}
		return anchor.Add((n + 1) * s.every)
	}
	if s.zone == nil {
		return time.Time{}
	}
	return s.cron.next(after, s.zone)
}

// Between returns how many times lie behind after and not behind until, counting
// to limit at most, and the last of them that it counted; zero for none.
func (s Schedule) Between(anchor, after, until time.Time, limit int) (n int, last time.Time) {
	if s.every > 0 && limit > 0 {
		first := s.Next(anchor, after)
		if first.After(until) {
			return 0, time.Time{}
		}
		more := until.Sub(first) / s.every
		return int(min(more+1, time.Duration(limit))), first.Add(more * s.every)
	}
	for n < limit {
		t := s.Next(anchor, after)
		if t.IsZero() || t.After(until) {
			break
		}
		n, last, after = n+1, t, t
	}
	return n, last
}
