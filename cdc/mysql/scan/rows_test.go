package scan_test

import (
	"strconv"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/sdk"
)

func r64(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// readRows reads one chunk under the marks of the caller and returns the rows as
// text.
func readRows(t testing.TB, c *scan.Conn, tab *scan.Table, r scan.Range) (rows []string) {
	t.Helper()
	var b sdk.Builder
	if _, err := c.Chunk(t.Context(), tab, r, func(row *scan.Row) error {
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		err := row.Append(&b, 0)
		if err == nil {
			text := ""
			for i := range tab.Schema.Columns {
				text += " " + show(&tab.Schema.Columns[i], b.After(), i)
			}
			rows = append(rows, text[1:])
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return rows
}

func show(c *sdk.Column, m sdk.Image, i int) string {
	switch {
	case m.IsAbsent(i):
		return "-"
	case m.IsNull(i):
		return "NULL"
	}
	return string(m.AppendText(nil, c, i))
}
