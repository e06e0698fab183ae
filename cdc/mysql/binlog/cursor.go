package binlog

// cursor reads an untrusted region from its beginning. After a read beyond the
// end it is bad and gives zeros; callers check bad once, at the end.
type cursor struct {
	p   []byte
	bad bool
}

// take returns the next n bytes: a view, nil when there are not as many.
func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.p) {
		c.bad = true
		return nil
	}
	v := c.p[:n:n]
	c.p = c.p[n:]
	return v
}

func (c *cursor) u8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return le.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return le.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return le.Uint64(v)
	}
	return 0
}

// uint reads a little-endian number of n bytes, n up to 8.
func (c *cursor) uint(n int) uint64 {
	if n > 8 {
		c.bad = true
	}
	var v uint64
	for i, b := range c.take(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// packed reads a length-encoded integer of the client/server protocol.
func (c *cursor) packed() uint64 {
	switch b := c.u8(); b {
	case 0xfc:
		return uint64(c.u16())
	case 0xfd:
		return c.uint(3)
	case 0xfe:
		return c.u64()
	case 0xfb, 0xff: // NULL and an error's mark: no number
		c.bad = true
		return 0
	default:
		return uint64(b)
	}
}

// count reads a packed integer that counts things of at least each bytes.
func (c *cursor) count(each int) int {
	n := c.packed()
	if n > uint64(len(c.p)) || n*uint64(each) > uint64(len(c.p)) {
		c.bad = true
		return 0
	}
	return int(n)
}

// text reads bytes preceded by their packed length.
func (c *cursor) text() []byte { return c.take(c.count(1)) }

// varlen reads an unsigned integer of mysql::serialization: the trailing one
// bits of the first byte count the bytes that follow it.
func (c *cursor) varlen() uint64 {
	if len(c.p) == 0 {
		c.bad = true
		return 0
	}
	n := 1
	for b := c.p[0]; b&1 == 1; b >>= 1 {
		n++
	}
	if n == 9 {
		c.take(1)
		return c.u64()
	}
	return c.uint(n) >> n
}

// varlenSigned reads a signed integer of mysql::serialization: the lowest bit
// of the unsigned one is the sign.
func (c *cursor) varlenSigned() int64 {
	v := c.varlen()
	if v&1 == 1 {
		return -int64(v>>1) - 1
	}
	return int64(v >> 1)
}
