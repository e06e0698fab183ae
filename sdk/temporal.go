package sdk

// Civil is a date and time of day as a database keeps it: any field may be
// zero, and none is checked against a calendar.
type Civil struct {
	Year, Month, Day, Hour, Minute, Second, Micro int
}

// PackDate packs a DATE into a slot. Zero and partial-zero dates survive:
// 0000-00-00 is 0.
func PackDate(year, month, day int) uint64 {
	return uint64(year)<<9 | uint64(month)<<5 | uint64(day)
}

// UnpackDate is the inverse of PackDate.
func UnpackDate(v uint64) (year, month, day int) {
	return int(v >> 9), int(v >> 5 & 15), int(v & 31)
}

// PackDateTime packs a DATETIME into a slot, in the bit order of MySQL's own
// packed form, so that slots compare as the values do.
func PackDateTime(c Civil) uint64 {
	return uint64(c.Year*13+c.Month)<<46 | uint64(c.Day)<<41 |
		uint64(c.Hour)<<36 | uint64(c.Minute)<<30 | uint64(c.Second)<<24 | uint64(c.Micro)
}

// UnpackDateTime is the inverse of PackDateTime.
func UnpackDateTime(v uint64) Civil {
	ym := int(v >> 46)
	return Civil{
		Year: ym / 13, Month: ym % 13, Day: int(v >> 41 & 31),
		Hour: int(v >> 36 & 31), Minute: int(v >> 30 & 63), Second: int(v >> 24 & 63),
		Micro: int(v & 0xffffff),
	}
}
