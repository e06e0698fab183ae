// Package scan reads tables of MySQL and MariaDB with SELECT, chunk by chunk in
// the order of a key, and gives rows whose bytes in a batch are those that the
// binary log gives of the same row. What it reads stands between two places of the
// log, its low and its high mark, so that rows and log can be put in order.
//
//	c, err := scan.Open(ctx, scan.Options{Target: target})
//	t, err := c.Plan(ctx, tables.Name{DB: "shop", Table: "orders"}, scan.TableOptions{})
//	for after := scan.Key(nil); ; after = done.Last {
//		low, err := c.Low(ctx, t)               // what the chunk shows at least
//		done, err := c.Chunk(ctx, t, scan.Range{After: after, RowsMax: 10_000, BytesMax: 2 << 20}, func(r *scan.Row) error {
//			return r.Append(builder, ordinal)   // and r.AppendKey for its key
//		})
//		high, err := c.High(ctx, t)             // what it shows at most
//		if done.End { break }
//	}
//
// With View behind Low, chunks show one moment, whose high mark View returns, and
// Release ends it.
//
// Remaining, Boundary and Last ask about what is left, Load about how busy the
// server is. DESIGN.md has the reasons.
//
// A connection that an error or a cut chunk left unusable is opened anew by the
// next Low, to the same server. One goroutine uses a Conn; several read different
// ranges of a table, or different tables, each with its own Conn and, where they
// like, the same Table.
//
// Neighbours: cdc/mysql/replica has the connection and the result as it comes,
// cdc/mysql/binlog the encoders, cdc/mysql/definition the catalog. What puts chunks
// and log in order is above it.
package scan
