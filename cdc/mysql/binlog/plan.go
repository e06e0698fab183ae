package binlog

import (
	"strings"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// planner makes one column's schema and decoder of what log and catalog say.
type planner struct {
	table  string
	number int
	m      *ColumnMap
	cat    *CatalogColumn // nil without
	out    *sdk.Column
	plan   *column
	z      *columnZlib // of the table
}

// fits reports whether the catalog's column is the one that the log describes
// completely.
func (b *planner) fits(c *CatalogColumn) bool {
	return c.Name == b.m.Name && disagree(b.m, c) == ""
}

// place names the column for an error message.
func (b *planner) place() string { return b.table + "." + b.out.Name }

func (b *planner) build() error {
	b.out.Nullable = b.m.Nullable
	b.out.Name = b.m.Name
	if b.cat != nil {
		b.out.Name, b.out.Native = b.cat.Name, b.cat.Native
	}
	var err error
	switch b.m.Type {
	case ColTiny, ColShort, ColInt24, ColLong, ColLongLong:
		err = b.integer()
	case ColFloat, ColDouble, ColNewDecimal, ColBit, ColYear:
		err = b.numeric()
	case ColDate, ColNewDate, ColTime, ColDateTime, ColTimestamp, ColTime2, ColDateTime2, ColTimestamp2:
		err = b.temporal()
	case ColString, ColVarString, ColVarchar, ColBlob, ColBlobCompressed, ColVarcharCompressed:
		err = b.text()
	case ColEnum, ColSet:
		err = b.labels()
	case ColJSON:
		b.set(sdk.TypeJSON, kindJSON, int(b.m.Meta))
		b.plan.array = b.m.Array
	case ColGeometry:
		b.set(sdk.TypeGeometry, kindBytes, int(b.m.Meta))
	case ColVector:
		b.set(sdk.TypeVector, kindBytes, int(b.m.Meta))
		b.out.Length = b.m.Dimensions
	default:
		return unsupported(b.place(), "leave the table out, or change the column's type", "a column of type %s", b.m.Type)
	}
	if err == nil && b.plan.kind > kindDecimal && (b.plan.size < 1 || b.plan.size > 8) {
		return corrupt(b.place(), "a column of type %s with lengths of %d bytes", b.m.Type, b.plan.size)
	}
	if err == nil && b.out.Native == "" {
		b.out.Native = b.native()
	}
	return err
}

func (b *planner) set(t sdk.Type, k kind, size int) {
	b.out.Type, b.plan.kind, b.plan.size = t, k, size
}

// integer decides by the sign, which only the optional metadata has.
func (b *planner) integer() error {
	unsigned := b.m.Unsigned
	if !b.m.SignKnown {
		if b.cat == nil {
			return incomplete(b.place(), "the log does not say whether column %d is unsigned", b.number)
		}
		unsigned = strings.Contains(strings.ToLower(b.cat.Native), "unsigned")
	}
	var k kind
	var size int
	switch b.m.Type {
	case ColTiny:
		k, size = kindInt8, 1
	case ColShort:
		k, size = kindInt16, 2
	case ColInt24:
		k, size = kindInt24, 3
	case ColLong:
		k, size = kindInt32, 4
	default:
		k, size = kindInt64, 8
	}
	if unsigned {
		b.set(sdk.TypeUint, k+kindUint8-kindInt8, size)
		return nil
	}
	b.set(sdk.TypeInt, k, size)
	return nil
}

// numeric plans the numbers that the log describes completely.
func (b *planner) numeric() error {
	high, low := int(b.m.Meta>>8), int(b.m.Meta&0xff)
	switch b.m.Type {
	case ColFloat:
		b.set(sdk.TypeFloat32, kindFloat32, 4)
	case ColDouble:
		b.set(sdk.TypeFloat64, kindFloat64, 8)
	case ColYear:
		b.set(sdk.TypeYear, kindYear, 1)
	case ColBit:
		bits := high*8 + low
		if bits < 1 || bits > 64 {
			return corrupt(b.place(), "a column of %d bits", bits)
		}
		b.set(sdk.TypeBit, kindBit, (bits+7)/8)
		b.out.Length = uint32(bits)
	case ColNewDecimal:
		if high < 1 || high > decimalDigitsMax || low > high {
			return corrupt(b.place(), "a DECIMAL of %d digits, %d of them behind the point", high, low)
		}
		b.set(sdk.TypeDecimal, kindDecimal, 0)
		b.plan.length, b.plan.digits = high, low
		b.out.Scale = uint8(low)
	}
	return nil
}

func (b *planner) temporal() error {
	digits := 0
	switch b.m.Type {
	case ColDate, ColNewDate:
		b.set(sdk.TypeDate, kindDate, 3)
	case ColTime:
		b.set(sdk.TypeTime, kindOldTime, 3)
	case ColDateTime:
		b.set(sdk.TypeDateTime, kindOldDateTime, 8)
	case ColTimestamp:
		b.set(sdk.TypeTimestamp, kindOldTimestamp, 4)
	default:
		digits = int(b.m.Meta)
	}
	if digits > 6 {
		return corrupt(b.place(), "%d fractional digits", digits)
	}
	switch b.m.Type {
	case ColTime2:
		b.set(sdk.TypeTime, kindTime2, 3+fractionBytes(digits))
	case ColDateTime2:
		b.set(sdk.TypeDateTime, kindDateTime2, 5+fractionBytes(digits))
	case ColTimestamp2:
		b.set(sdk.TypeTimestamp, kindTimestamp2, 4+fractionBytes(digits))
	}
	if isOldTemporal(b.m.Type) {
		var err error
		if digits, err = b.hires(); err != nil {
			return err
		}
	}
	b.plan.digits, b.out.Scale = digits, uint8(digits)
	return nil
}

// hires plans MariaDB's old types with a fraction, which the log does not tell
// from those without, and returns the digits.
func (b *planner) hires() (digits int, err error) {
	if b.cat == nil {
		return 0, incomplete(b.place(), "the log does not say whether column %d, in MariaDB's old format, has fractional digits", b.number)
	}
	if digits, _ = nativeNumbers(b.cat.Native); digits == 0 {
		return 0, nil
	}
	if digits > 6 {
		return 0, mismatch(b.place(), "the catalog says %s", b.cat.Native)
	}
	k := map[kind]kind{kindOldTime: kindHiresTime, kindOldDateTime: kindHiresDateTime, kindOldTimestamp: kindHiresTimestamp}[b.plan.kind]
	b.plan.kind, b.plan.size = k, hiresBytes(k, digits)
	return digits, nil
}

// charset returns the column's character set: by the log, else by the catalog.
func (b *planner) charset() (*charset, error) {
	name := ""
	switch {
	case b.m.Collation != 0:
		if name = charsetOf(b.m.Collation); name == "" {
			return nil, fault.New(fault.Fatal, CodeCharset, b.place(), "ALTER TABLE to a collation that MySQL 9.7 or MariaDB 10.11 has, or upgrade cdcd",
				"collation %d is not known", b.m.Collation)
		}
	case b.cat == nil:
		return nil, incomplete(b.place(), "the log does not say which character set column %d has", b.number)
	case b.cat.Charset != "":
		name = b.cat.Charset
	case textual(b.cat.Native):
		return nil, incomplete(b.place(), "neither the log nor the definition says which character set column %d has", b.number)
	default:
		name = charsetBinary
	}
	c := newCharset(name)
	if c == nil {
		return nil, fault.New(fault.Fatal, CodeCharset, b.place(), "ALTER TABLE to CHARACTER SET utf8mb4",
			"character set %s can't be decoded", name)
	}
	return c, nil
}

// text plans CHAR, VARCHAR, TEXT and their binary kin.
func (b *planner) text() error {
	text, err := b.charset()
	if err != nil {
		return err
	}
	b.plan.text = text
	size := int(b.m.Meta) // BLOB: bytes of the length
	switch b.m.Type {
	case ColString, ColVarString, ColVarchar, ColVarcharCompressed:
		size = 1
		if b.m.Meta > 255 {
			size = 2
		}
	}
	switch {
	case b.m.Type == ColBlobCompressed || b.m.Type == ColVarcharCompressed:
		b.set(sdk.TypeString, kindCompressed, size)
		if text.form == formBytes {
			b.out.Type = sdk.TypeBytes
		}
		b.plan.z = b.z
	case text.form != formBytes:
		b.set(sdk.TypeString, kindText, size)
	default:
		b.set(sdk.TypeBytes, kindBytes, size)
		if b.m.Type == ColString {
			b.plan.length, b.out.Length = int(b.m.Meta), uint32(b.m.Meta)
			b.fixed()
		} else if b.cat != nil && nativeBase(b.cat.Native) == "vector" { // MariaDB's, from 11.7
			b.out.Type, b.out.Length = sdk.TypeVector, uint32(b.m.Meta)/4
		}
	}
	return nil
}

// fixed turns a BINARY(n) into the MariaDB type that the catalog says it is.
func (b *planner) fixed() {
	if b.cat == nil {
		return
	}
	switch nativeBase(b.cat.Native) {
	case "uuid":
		b.set(sdk.TypeUUID, kindUUID, 1)
	case "inet4":
		b.set(sdk.TypeInet, kindInet4, 1)
	case "inet6":
		b.set(sdk.TypeInet, kindInet6, 1)
	default:
		return
	}
	b.out.Length = 0
}

// labels plans ENUM and SET; their numbers mean nothing without the labels.
func (b *planner) labels() error {
	b.set(sdk.TypeEnum, kindEnum, int(b.m.Meta))
	if b.m.Type == ColSet {
		b.set(sdk.TypeSet, kindSet, int(b.m.Meta))
	}
	switch {
	case b.m.Labels != nil:
		text, err := b.charset()
		if err != nil {
			return err
		}
		if b.plan.labels, err = labelsUTF8(b.m.Labels, text); err != nil {
			return fault.New(fault.Fatal, CodeCharset, b.place(), "ALTER TABLE to CHARACTER SET utf8mb4",
				"labels of character set %s: %w", text.name, err)
		}
	case b.cat != nil && len(b.cat.Labels) > 0:
		for _, l := range b.cat.Labels {
			if !utf8.ValidString(l) {
				return mismatch(b.place(), "the catalog's label %q is not UTF-8: it must be read with SET NAMES utf8mb4", l)
			}
			b.plan.labels = append(b.plan.labels, []byte(l))
		}
	default:
		return incomplete(b.place(), "neither the log nor the catalog has the labels of column %d", b.number)
	}
	for _, l := range b.plan.labels {
		b.out.Labels = append(b.out.Labels, string(l))
	}
	if b.m.Type == ColSet && len(b.plan.labels) > 64 {
		return corrupt(b.place(), "a set of %d labels", len(b.plan.labels))
	}
	return nil
}
