package scan

import (
	"bytes"
	"context"
	"math/bits"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// skewMax is by how much a part may have more rows than it should.
const skewMax = 2

// strides is how many steps a part has, by the server's guess, in a walk over the
// index.
const strides = 4

// Split returns up to n-1 keys, in the table's order, that divide it into parts to
// be read side by side: the first is up to the first key, the last behind the last
// one. Where the key begins with a number or a time whose values lie evenly
// enough, the parts are of equal width, which asks for n rows of the index:
// readers that take the next part when they are done make up for what they
// differ. Otherwise they are of as many rows, which walks over the index; what a
// statement's time does not suffice for stays one part.
func (c *Conn) Split(ctx context.Context, t *Table, n int) (keys []Key, err error) {
	if _, err := c.keyed(ctx, t, Range{}); err != nil {
		return nil, err
	}
	n = min(n, int(min(t.RowsEstimate, 1<<16)))
	if n < 2 {
		return nil, nil
	}
	if t.even() {
		if keys, err = c.splitEvenly(ctx, t, n); err != nil {
			return nil, err
		}
		if skewed, err := c.skewed(ctx, t, keys, n); err != nil || !skewed {
			return keys, err
		}
		keys = nil
	}
	return c.walk(ctx, t, n)
}

// walk returns keys that divide the table into parts of about as many rows. The
// server's guess of the rows, which may be half of them or twice as many, gives
// only the first stride: the walk goes to the table's end, and its stride doubles
// where that is farther than it was guessed to be.
func (c *Conn) walk(ctx context.Context, t *Table, n int) (keys []Key, err error) {
	stride := max(1, int(t.RowsEstimate/uint64(n*strides)))
	var marks []Key // a stride apart
	for last := Key(nil); ; {
		last, err = c.Boundary(ctx, t, Range{After: last, RowsMax: stride})
		if fault.HasCode(err, CodeSlow) || err == nil && len(last) == 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		if marks = append(marks, last); len(marks) == 2*strides*n {
			for i := range strides * n {
				marks[i] = marks[2*i+1]
			}
			marks, stride = marks[:strides*n], 2*stride
		}
	}
	if n = min(n, len(marks)+1); n < 2 {
		return nil, nil
	}
	for i := range n - 1 {
		keys = append(keys, marks[(i+1)*(len(marks)+1)/n-1])
	}
	return keys, nil
}

// skewed reports whether a part has many more rows than an nth of the table, both
// as the server guesses: MySQL takes ranges for twice what they are.
func (c *Conn) skewed(ctx context.Context, t *Table, keys []Key, n int) (bool, error) {
	largest, sum := uint64(0), uint64(0)
	for i := range len(keys) + 1 {
		r := Range{}
		if i > 0 {
			r.After = keys[i-1]
		}
		if i < len(keys) {
			r.UpTo = keys[i]
		}
		rows, err := c.Remaining(ctx, t, r)
		if err != nil {
			return false, err
		}
		largest, sum = max(largest, rows), sum+rows
	}
	return largest > skewMax*sum/uint64(n), nil
}

// even reports whether the values of the key's first column can be reckoned with.
func (t *Table) even() bool {
	switch k := &t.key[0]; k.kind {
	case partInt, partUint, partStamp, partClock:
		return len(k.labels) == 0
	}
	return false
}

// splitEvenly returns the keys at or behind values in equal distances.
func (c *Conn) splitEvenly(ctx context.Context, t *Table, n int) (keys []Key, err error) {
	ends := [2]uint64{}
	for i, reverse := range []bool{false, true} {
		k, err := c.oneKey(ctx, t, string(append(t.keyStatement(span{}, reverse), " LIMIT 1"...)))
		if err != nil || len(k) == 0 {
			return nil, err
		}
		parts, err := t.decode(k)
		if err != nil {
			return nil, err
		}
		ends[i] = parts[0].num
	}
	// Two's complement: the distance is right for signed numbers too.
	from, width := ends[0], ends[1]-ends[0]
	if t.key[0].desc {
		width = ends[0] - ends[1]
	}
	for i := 1; i < n; i++ {
		high, low := bits.Mul64(width, uint64(i))
		step, _ := bits.Div64(high, low, uint64(n))
		if step == 0 {
			continue
		}
		p := part{kind: t.key[0].kind, num: from + step}
		if t.key[0].desc {
			p.num = from - step
		}
		k, err := c.oneKey(ctx, t, string(append(t.keyStatement(span{after: []part{p}, from: true}, false), " LIMIT 1"...)))
		if err != nil {
			return nil, err
		}
		if len(k) > 0 && (len(keys) == 0 || !bytes.Equal(keys[len(keys)-1], k)) {
			keys = append(keys, k)
		}
	}
	return keys, nil
}
