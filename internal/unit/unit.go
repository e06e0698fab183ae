package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size, written with a unit: "64KiB", "10MiB", "1.5GiB", "500MB", "0".
type Bytes int64

// UnmarshalText reads a size; the error names the units that are known.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	i := len(s)
	for i > 0 && (s[i-1] < '0' || s[i-1] > '9') {
		i--
	}
	n, err := strconv.ParseFloat(s[:i], 64)
	unit := strings.TrimSpace(s[i:])
	f, known := map[string]float64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
	if unit == "" && n == 0 {
		f, known = 1, true
	}
	if err != nil || !known || n < 0 || n*f > math.MaxInt64/2 {
		return fmt.Errorf("%q is not a size: write a number with a unit, such as 64KiB, 10MiB or 20GiB", s)
	}
	*b = Bytes(n * f)
	return nil
}

// String prints the size with the largest binary unit that divides it.
func (b Bytes) String() string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	n, u := int64(b), 0
	for n != 0 && n%1024 == 0 && u < len(units)-1 {
		n /= 1024
		u++
	}
	return strconv.FormatInt(n, 10) + units[u]
}

// MarshalText is the inverse of UnmarshalText.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Duration is a time span, written with a unit: "50ms", "10s", "12h", "7d".
type Duration time.Duration

// UnmarshalText reads a duration; the error names the units that are known.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	bad := fmt.Errorf("%q is not a duration: write a number with a unit, such as 50ms, 10s, 12h or 7d", s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return bad
		}
		*d = Duration(n * 24 * float64(time.Hour))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return bad
	}
	*d = Duration(v)
	return nil
}

// String prints the duration; whole days as days.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d != 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Std returns the standard library's duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Count is a number that may be written with a decimal suffix: "50M", "1.5G",
// "200k", "5000".
type Count int64

// UnmarshalText reads a count; the error names the suffixes that are known.
func (c *Count) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	digits := strings.TrimRight(s, "kMG")
	f, known := map[string]float64{"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[s[len(digits):]]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !known || !(n >= 0 && n*f <= 1<<53) || n*f != math.Trunc(n*f) {
		return fmt.Errorf("%q is not a count: write a number, such as 5000, 200k, 50M or 1G", s)
	}
	*c = Count(n * f)
	return nil
}

// String prints the count with the largest suffix that divides it.
func (c Count) String() string {
	suffixes := []string{"", "k", "M", "G"}
	n, u := int64(c), 0
	for n != 0 && n%1000 == 0 && u < len(suffixes)-1 {
		n /= 1000
		u++
	}
	return strconv.FormatInt(n, 10) + suffixes[u]
}

// MarshalText is the inverse of UnmarshalText.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Secret is text that never prints: every way of formatting it gives "•••".
type Secret struct{ text string }

// NewSecret returns a Secret.
func NewSecret(s string) Secret { return Secret{s} }

// UnmarshalText keeps the text.
func (s *Secret) UnmarshalText(text []byte) error {
	s.text = string(text)
	return nil
}

// Reveal returns the text: only for the one place that needs it.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no text.
func (s Secret) IsZero() bool { return s.text == "" }

// String hides the text.
func (s Secret) String() string { return "•••" }

// GoString hides the text.
func (s Secret) GoString() string { return "•••" }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte("•••"), nil }
