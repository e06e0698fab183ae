package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// yearsMax is how far ahead a time is looked for: the 29th of February that
// falls on one day of the week comes again after at most forty years, over 2100.
const yearsMax = 41

// fields is a schedule of five fields; bit i of each says that the value i is in.
type fields struct {
	minutes, hours, days, months, weekdays uint64
	// either says that a day is due when one of days and weekdays has it, because
	// both are restricted; otherwise both must.
	either bool
	// hourly says that every hour is due: then the clock's being set changes nothing,
	// and an hour that it shows twice is due twice.
	hourly bool
}

// field is what one of the five may hold.
type field struct {
	name     string
	min, max int
	words    []string // of min, min+1, ...
}

var fieldForms = [5]field{
	{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}, // 7 is Sunday, too
}

func parseFields(text string) (f fields, err error) {
	parts := strings.Fields(text)
	if len(parts) != len(fieldForms) {
		return f, fmt.Errorf("%d fields, of five: minute, hour, day of the month, month, day of the week", len(parts))
	}
	var sets [5]uint64
	for i, p := range parts {
		if sets[i], err = fieldForms[i].parse(p); err != nil {
			return f, err
		}
	}
	f = fields{minutes: sets[0], hours: sets[1], days: sets[2], months: sets[3], weekdays: sets[4]}
	if f.weekdays&(1<<7) != 0 {
		f.weekdays = f.weekdays&^(1<<7) | 1
	}
	f.either = !strings.HasPrefix(parts[2], "*") && !strings.HasPrefix(parts[4], "*")
	f.hourly = bits.OnesCount64(f.hours) == 24
	return f, nil
}

// parse reads a list of "*", "a", "a-b", each with "/step" where it is a range.
func (d *field) parse(text string) (set uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		values, step, stepped := strings.Cut(part, "/")
		every := 1
		if stepped {
			if every, err = strconv.Atoi(step); err != nil || every < 1 || every > d.max {
				return 0, fmt.Errorf("%s: %.50q is not a step from 1 to %d", d.name, step, d.max)
			}
		}
		from, to := d.min, d.max
		if values != "*" {
			a, b, isRange := strings.Cut(values, "-")
			if from, err = d.value(a); err != nil {
				return 0, err
			}
			to = from
			switch {
			case isRange:
				if to, err = d.value(b); err != nil {
					return 0, err
				}
			case stepped:
				return 0, fmt.Errorf("%s: %.50q: a step is of a range, or of *", d.name, part)
			}
			if to < from {
				return 0, fmt.Errorf("%s: the range %.50q ends before it begins", d.name, values)
			}
		}
		for v := from; v <= to; v += every {
			set |= 1 << v
		}
	}
	return set, nil
}

func (d *field) value(text string) (int, error) {
	for i, w := range d.words {
		if strings.EqualFold(text, w) {
			return d.min + i, nil
		}
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && int(n) >= d.min && int(n) <= d.max {
		return int(n), nil
	}
	return 0, fmt.Errorf("%s: %.50q is not from %d to %d", d.name, text, d.min, d.max)
}

// day reports whether a day is due.
func (f *fields) day(t time.Time) bool {
	of := f.days&(1<<t.Day()) != 0
	week := f.weekdays&(1<<t.Weekday()) != 0
	if f.either {
		return of || week
	}
	return of && week
}

// clock returns the first minute, at or behind from and before until, that is due
// by a clock that is never set: from and until are read as such a clock shows
// them, in UTC. ok is false where there is none.
func (f *fields) clock(from, until time.Time) (t time.Time, ok bool) {
	t = from.Truncate(time.Minute)
	if t.Before(from) {
		t = t.Add(time.Minute)
	}
	for t.Before(until) {
		y, m, d := t.Date()
		switch {
		case f.months&(1<<m) == 0:
			t = time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
		case !f.day(t):
			t = time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
		case f.hours&(1<<t.Hour()) == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case f.minutes>>t.Minute() == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		default:
			t = t.Add(time.Duration(bits.TrailingZeros64(f.minutes>>t.Minute())) * time.Minute)
			return t, t.Before(until)
		}
	}
	return t, false
}

// next looks for a time from one setting of the zone's clock to the next.
func (f *fields) next(after time.Time, zone *time.Location) time.Time {
	end := after.AddDate(yearsMax, 0, 0)
	least := time.Duration(1) // behind the time itself
	for at := after; at.Before(end); least = 0 {
		begin, until := at.In(zone).ZoneBounds()
		switch {
		case until.IsZero() || until.After(end):
			until = end
		case !until.After(at): // for the library, years behind the zone's table have 365 days
			until = at.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		}
		from := shown(at, zone).Add(least)
		if !begin.IsZero() && !f.hourly { // what the clock shows for the second time was due the first time
			if before := shown(begin.Add(-1), zone).Add(1); before.After(from) {
				from = before
			}
		}
		last := shown(until.Add(-1), zone).Add(1)
		if t, ok := f.clock(from, last); ok {
			return at.Add(t.Sub(shown(at, zone))).In(zone)
		}
		if !until.Before(end) {
			break
		}
		if _, ok := f.clock(last, shown(until, zone)); ok && !f.hourly { // it would be due in the hour that is left out
			return until.In(zone)
		}
		at = until
	}
	return time.Time{}
}

// shown returns what the zone's clock shows at a time, as if it were one in UTC.
func shown(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
