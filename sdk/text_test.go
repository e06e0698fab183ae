package sdk

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAppendText(t *testing.T) {
	f := math.Float64bits
	neg := func(v int64) uint64 { return uint64(v) }
	tests := []struct {
		c    Column
		slot uint64
		want string
	}{
		{Column{Type: TypeInt}, neg(-5), "-5"},
		{Column{Type: TypeUint}, math.MaxUint64, "18446744073709551615"},
		{Column{Type: TypeYear}, 0, "0"},
		{Column{Type: TypeFloat32}, f(float64(float32(0.1))), "0.1"},
		{Column{Type: TypeFloat64}, f(1e300), "1e300"},
		{Column{Type: TypeFloat64}, f(1e6), "1000000"},
		{Column{Type: TypeFloat64}, f(1e15), "1e15"},
		{Column{Type: TypeFloat64}, f(-1.5e-16), "-1.5e-16"},
		{Column{Type: TypeFloat64}, f(math.Inf(-1)), "-Inf"},
		{Column{Type: TypeDate}, PackDate(2025, 1, 31), "2025-01-31"},
		{Column{Type: TypeDate}, 0, "0000-00-00"},
		{Column{Type: TypeDate}, PackDate(9999, 12, 0), "9999-12-00"},
		{Column{Type: TypeTime}, neg(-(838*3600 + 59*60 + 59) * 1e6), "-838:59:59"},
		{Column{Type: TypeTime, Scale: 3}, 3_600_500_000, "01:00:00.500"},
		{Column{Type: TypeTime, Scale: 6}, neg(-1), "-00:00:00.000001"},
		{Column{Type: TypeDateTime, Scale: 2}, PackDateTime(Civil{2025, 1, 31, 1, 2, 3, 456789}), "2025-01-31 01:02:03.45"},
		{Column{Type: TypeDateTime}, 0, "0000-00-00 00:00:00"},
		{Column{Type: TypeTimestamp}, 0, "0000-00-00T00:00:00Z"},
		{Column{Type: TypeTimestamp, Scale: 6}, 1_700_000_000_000_001, "2023-11-14T22:13:20.000001Z"},
		{Column{Type: TypeTimestamp}, neg(-1_000_000), "1969-12-31T23:59:59Z"},
	}
	for _, tt := range tests {
		s := &Schema{ID: 1, Columns: []Column{tt.c}}
		var b Builder
		b.Reset()
		b.BeginTx(TxInfo{})
		b.BeginRow(s, OpInsert, RowAfter, 0)
		b.After().SetSlot(0, tt.slot)
		b.EndRow()
		if got := string(b.After().AppendText([]byte("x"), &s.Columns[0], 0)); got != "x"+tt.want {
			t.Errorf("%v %d: %q, want %q", tt.c.Type, tt.slot, got, tt.want)
		}
	}
}

func TestTimestampTextAgreesWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(-62_135_596_800_000_000, 253_402_300_799_999_999).Draw(t, "us") // years 1 to 9999
		want := time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
		if us == 0 {
			want = "0000-00-00T00:00:00.000000Z"
		}
		if got := string(appendTimestamp(nil, us, 6)); got != want {
			t.Fatalf("%d: %s, want %s", us, got, want)
		}
	})
}

func TestPackingIsReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(most int) int { return rapid.IntRange(0, most).Draw(t, "part") }
		c := Civil{n(9999), n(12), n(31), n(23), n(59), n(59), n(999_999)}
		if got := UnpackDateTime(PackDateTime(c)); got != c {
			t.Fatalf("%+v became %+v", c, got)
		}
		if y, m, d := UnpackDate(PackDate(c.Year, c.Month, c.Day)); y != c.Year || m != c.Month || d != c.Day {
			t.Fatalf("%+v became %d-%d-%d", c, y, m, d)
		}
	})
}
