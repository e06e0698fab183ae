package cdctest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// SetText gives column i of an image the value whose ServerText is text: what a
// test of something behind a source does with a line of the matrix.
func SetText(b *sdk.Builder, m sdk.Image, i int, c *sdk.Column, text string) error {
	var slot uint64
	var err error
	switch c.Type {
	case sdk.TypeInt:
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		slot = uint64(n)
	case sdk.TypeUint, sdk.TypeBit, sdk.TypeYear:
		slot, err = strconv.ParseUint(text, 10, 64)
	case sdk.TypeFloat32, sdk.TypeFloat64:
		return setFloat(m, i, text)
	case sdk.TypeDate, sdk.TypeDateTime, sdk.TypeTimestamp, sdk.TypeTime:
		slot, err = parseTemporal(c.Type, text)
	case sdk.TypeBytes, sdk.TypeGeometry, sdk.TypeVector:
		b.SetBytes(m, i, unhex(text))
		return nil
	default:
		b.SetBytes(m, i, []byte(text))
		return nil
	}
	if err == nil {
		m.SetSlot(i, slot)
	}
	return err
}

func setFloat(m sdk.Image, i int, text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err == nil {
		m.SetSlot(i, math.Float64bits(f))
	}
	return err
}

// parseTemporal reads "-838:59:59.9", "2026-00-00" and "2026-11-21 10:11:12.5".
func parseTemporal(t sdk.Type, text string) (slot uint64, err error) {
	whole, fraction, _ := strings.Cut(text, ".")
	micro, err := strconv.Atoi((fraction + "000000")[:6])
	if err != nil {
		return 0, err
	}
	if t == sdk.TypeTime {
		negative := strings.HasPrefix(whole, "-")
		var h, m, s int64
		_, err = fmt.Sscanf(strings.TrimPrefix(whole, "-"), "%d:%d:%d", &h, &m, &s)
		us := ((h*60+m)*60+s)*1e6 + int64(micro)
		if negative {
			us = -us
		}
		return uint64(us), err
	}
	v := sdk.Civil{Micro: micro}
	if t == sdk.TypeDate {
		_, err = fmt.Sscanf(whole, "%d-%d-%d", &v.Year, &v.Month, &v.Day)
		return sdk.PackDate(v.Year, v.Month, v.Day), err
	}
	_, err = fmt.Sscanf(whole, "%d-%d-%d %d:%d:%d", &v.Year, &v.Month, &v.Day, &v.Hour, &v.Minute, &v.Second)
	if t == sdk.TypeDateTime || v.Year == 0 {
		return sdk.PackDateTime(v), err
	}
	at := time.Date(v.Year, time.Month(v.Month), v.Day, v.Hour, v.Minute, v.Second, micro*1000, time.UTC)
	return uint64(at.UnixMicro()), err
}
