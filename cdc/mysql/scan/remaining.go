package scan

import (
	"context"
	"slices"
	"strconv"
)

// Remaining is the server's estimate of how many rows of a range are left: two
// dives into the index, whatever the range. It is good to some ten percent in the
// middle of a table and better near the end, where it counts.
func (c *Conn) Remaining(ctx context.Context, t *Table, r Range) (uint64, error) {
	in, err := c.keyed(ctx, t, r)
	if err != nil {
		return 0, err
	}
	// Where an index is forced MySQL does not look how many rows a range has.
	names, rows, err := c.c.Table(ctx, c.explain()+string(t.appendRange(t.appendFrom(t.keyList, "USE"), in, "")))
	if err != nil {
		return 0, c.chunkFault(ctx, t, err)
	}
	if len(rows) == 0 {
		return 0, nil
	}
	cell := func(name string, otherwise float64) float64 {
		if at := slices.Index(names, name); at >= 0 {
			if n, err := strconv.ParseFloat(rows[0][at], 64); err == nil {
				return n
			}
		}
		return otherwise
	}
	// No number of rows stands beside "Impossible WHERE" and the like.
	return uint64(cell("rows", 0) * cell("filtered", 100) / 100), nil
}
