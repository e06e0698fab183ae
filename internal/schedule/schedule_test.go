package schedule

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func parse(t testing.TB, text, zone string) Schedule {
	t.Helper()
	z, err := Zone(zone)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text, z)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// due lists the first times behind a time, as the zone's clock shows them.
func due(t *testing.T, s Schedule, after string, n int) (list []string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		at = s.Next(time.Time{}, at)
		list = append(list, at.Format("2006-01-02 15:04 -0700"))
	}
	return list
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		text, zone, after string
		want              []string
	}{
		{"@hourly", "", "2026-03-01T00:00:00Z", []string{"2026-03-01 01:00 +0000", "2026-03-01 02:00 +0000"}},
		{"@daily", "", "2026-02-28T00:00:00.5Z", []string{"2026-03-01 00:00 +0000"}},
		{"*/15 9-10 * * mon-fri", "", "2026-11-20T10:30:00Z", []string{"2026-11-20 10:45 +0000", "2026-11-23 09:00 +0000"}},
		{"0 0 13 * FRI", "", "2026-11-01T00:00:00Z", []string{"2026-11-06 00:00 +0000", "2026-11-13 00:00 +0000", "2026-11-20 00:00 +0000"}},
		{"5 4 * * 7", "", "2026-11-21T00:00:00Z", []string{"2026-11-22 04:05 +0000"}},
		{"0 12 29 feb *", "", "2096-03-01T00:00:00Z", []string{"2104-02-29 12:00 +0000"}},
		{"0 0 1,15 jan,7 *", "", "2026-01-02T00:00:00Z", []string{"2026-01-15 00:00 +0000", "2026-07-01 00:00 +0000"}},
		{"10-50/20 0 * * *", "", "2026-01-02T00:00:00Z", []string{"2026-01-02 00:10 +0000", "2026-01-02 00:30 +0000", "2026-01-02 00:50 +0000"}},
		// The clock is set forward from 2 to 3: due when it is set, once.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T03:00:00Z", []string{"2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"}},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29 03:00 +0200", "2026-03-30 02:00 +0200"}},
		{"0 3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29 03:00 +0200", "2026-03-30 03:00 +0200"}},
		{"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29 01:30 +0100", "2026-03-29 03:30 +0200"}},
		// It is set back from 3 to 2: due the first time, unless every hour is due.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", []string{"2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", []string{"2026-10-26 02:30 +0100"}},
		{"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25 02:30 +0200", "2026-10-25 02:30 +0100", "2026-10-25 03:30 +0100"}},
		// A whole day that is left out.
		{"0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29 12:00 -1000", "2011-12-31 00:00 +1400", "2011-12-31 12:00 +1400"}},
	} {
		s := parse(t, c.text, c.zone)
		if d := cmp.Diff(c.want, due(t, s, c.after, len(c.want))); d != "" {
			t.Errorf("%s in %q behind %s:\n%s", c.text, c.zone, c.after, d)
		}
	}
}

func TestEvery(t *testing.T) {
	s := parse(t, "@every  90s", "")
	anchor := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{
		0: 90 * time.Second, time.Second: 90 * time.Second, 90 * time.Second: 180 * time.Second,
		-time.Nanosecond: 0, -90 * time.Second: 0, -91 * time.Second: -90 * time.Second, 1000 * time.Hour: 1000*time.Hour + 90*time.Second,
	} {
		if got := s.Next(anchor, anchor.Add(after)).Sub(anchor); got != want {
			t.Errorf("behind %v: %v, want %v", after, got, want)
		}
	}
	if s.String() != "@every 90s" || s.Every() != 90*time.Second {
		t.Errorf("%v, %v", s, s.Every())
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                "0 fields",
		"* * * *":         "4 fields",
		"* * * * * *":     "6 fields",
		"60 * * * *":      `minute: "60" is not from 0 to 59`,
		"* 24 * * *":      "hour",
		"* * 0 * *":       "day of the month",
		"* * * 13 *":      "month",
		"* * * * 8":       "day of the week",
		"* * * * funday":  "day of the week",
		"5-1 * * * *":     "ends before it begins",
		"*/0 * * * *":     "is not a step",
		"5/10 * * * *":    "a step is of a range",
		"1,,2 * * * *":    "minute",
		"-5 * * * *":      "minute",
		"+5 * * * *":      "minute",
		"0 0 30 2 *":      "no calendar",
		"0 0 31 4,6,9 *":  "no calendar",
		"@reboot":         "no schedule of the name",
		"@every":          "no schedule of the name",
		"@every 999ms":    "less than 1s",
		"@every fast":     "not a duration",
		"@every -5m":      "not a duration",
		"@every 15m  10s": "not a duration",
	} {
		if _, err := Parse(text, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, zone := range []string{"Local", "Mars/Olympus", "../etc"} {
		if _, err := Zone(zone); err == nil {
			t.Errorf("%q is a zone", zone)
		}
	}
}

// slow is Next by trying every minute, and the rule for clocks that are set as it
// is written for people.
func slow(f fields, after time.Time, zone *time.Location, within time.Duration) time.Time {
	match := func(t time.Time) bool {
		return f.minutes&(1<<t.Minute()) != 0 && f.hours&(1<<t.Hour()) != 0 && f.months&(1<<t.Month()) != 0 && f.day(t)
	}
	const form = "2006-01-02 15:04"
	for t := after.Truncate(time.Minute).Add(time.Minute); t.Sub(after) <= within; t = t.Add(time.Minute) {
		here := t.In(zone)
		if f.hourly {
			if match(here) {
				return here
			}
			continue
		}
		now, before := bare(here), bare(t.Add(-time.Minute).In(zone))
		for m := before.Add(time.Minute); m.Before(now); m = m.Add(time.Minute) { // left out
			if match(m) {
				return here
			}
		}
		again := !match(here)
		for k := time.Duration(1); k <= 180 && !again; k++ {
			again = t.Add(-k*time.Minute).In(zone).Format(form) == here.Format(form)
		}
		if !again {
			return here
		}
	}
	return time.Time{}
}

// bare returns what a clock shows, without its zone.
func bare(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
}

// settings are times around which clocks are set.
var settings = []struct{ zone, at string }{
	{"Europe/Berlin", "2026-03-29T01:00:00Z"}, {"Europe/Berlin", "2026-10-25T01:00:00Z"},
	{"America/New_York", "2026-03-08T07:00:00Z"}, {"America/New_York", "2026-11-01T06:00:00Z"},
	{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"}, {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
	{"America/Sao_Paulo", "2018-11-04T03:00:00Z"}, {"Asia/Kolkata", "2026-06-01T00:00:00Z"}, {"UTC", "2026-02-28T23:00:00Z"},
}

func TestNextIsWhatTryingEveryMinuteGives(t *testing.T) {
	list := func(t *rapid.T, name string, from, to int) string {
		if rapid.Bool().Draw(t, name+" any") {
			return "*"
		}
		var parts []string
		for range rapid.IntRange(1, 3).Draw(t, name+" n") {
			parts = append(parts, strconv.Itoa(rapid.IntRange(from, to).Draw(t, name)))
		}
		return strings.Join(parts, ",")
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom(settings).Draw(rt, "setting")
		at, _ := time.Parse(time.RFC3339, c.at)
		zone, err := Zone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		text := list(rt, "minute", 0, 59) + " " + list(rt, "hour", 0, 4) + " " + list(rt, "day", 1, 28) + " * " + list(rt, "weekday", 0, 6)
		f, err := parseFields(text)
		if err != nil {
			rt.Fatal(text, err)
		}
		after := at.Add(time.Duration(rapid.Int64Range(int64(-6*time.Hour), int64(6*time.Hour)).Draw(rt, "after")))
		const within = 30 * time.Hour
		for range 3 {
			want := slow(f, after, zone, within)
			got := f.next(after, zone)
			if want.IsZero() {
				if got.Sub(after) <= within {
					rt.Fatalf("%s in %s behind %v: %v, which is not due", text, c.zone, after, got)
				}
				return
			}
			if !got.Equal(want) {
				rt.Fatalf("%s in %s behind %v: %v, want %v", text, c.zone, after.In(zone), got, want)
			}
			after = got
		}
	})
}

// Between counts what Next gives.
func TestBetween(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := parse(t, rapid.SampledFrom([]string{"@every 7s", "@every 1h", "*/5 * * * *", "30 2 * * *"}).Draw(rt, "schedule"), "Europe/Berlin")
		anchor := time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC)
		after := anchor.Add(time.Duration(rapid.IntRange(-10000, 100000).Draw(rt, "after")) * time.Second)
		until := after.Add(time.Duration(rapid.IntRange(-10, 20000).Draw(rt, "span")) * time.Second)
		limit := rapid.IntRange(0, 5000).Draw(rt, "limit")
		n, last := 0, time.Time{}
		for at := s.Next(anchor, after); n < limit && !at.After(until); at = s.Next(anchor, at) {
			n, last = n+1, at
		}
		got, at := s.Between(anchor, after, until, limit)
		if got != n || s.Every() == 0 && !at.Equal(last) {
			rt.Fatalf("%d to %v, want %d to %v", got, at, n, last)
		}
	})
}

// Any text is refused, or has times that rise.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"@every 15m", "@hourly", "*/15 9-17 * * mon-fri", "0 0 29 2 */6", "1,2-5/2,* 0 1 1 7", "@every 106751d"} {
		f.Add(text, int64(1_800_000_000))
	}
	zone, err := Zone("America/New_York")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := Parse(text, zone)
		if err != nil {
			return
		}
		anchor := time.Unix(1_700_000_000, 0)
		after := time.Unix(1_500_000_000+(unix&(1<<30-1)), 0)
		for range 5 {
			next := s.Next(anchor, after)
			if next.IsZero() && s.Every() == 0 {
				return
			}
			if !next.After(after) {
				t.Fatalf("%q: %v is not behind %v", text, next, after)
			}
			after = next
		}
		again, err := Parse(s.String(), zone)
		if err != nil || !again.Next(anchor, after).Equal(s.Next(anchor, after)) {
			t.Fatalf("%q does not mean what %q does: %v", s, text, err)
		}
	})
}
