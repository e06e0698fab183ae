package binlog

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

func ask(t testing.TB, c *client.Conn, sql string) [][]string {
	t.Helper()
	result, err := c.Execute(sql)
	if err != nil {
		t.Fatalf("%v in: %.200s", err, sql)
	}
	rows := make([][]string, result.RowNumber())
	for r := range rows {
		for k := range result.ColumnNumber() {
			text, err := result.GetString(r, k) // NULL is ""
			if err != nil {
				t.Fatal(err)
			}
			rows[r] = append(rows[r], text)
		}
	}
	return rows
}

// TestCollations compares every collation id of both servers.
func TestCollations(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		sql := "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"
		if db.Flavor == FlavorMariaDB {
			sql = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
		}
		rows := ask(t, db.Conn(t), sql)
		if len(rows) < 280 {
			t.Fatalf("only %d collations", len(rows))
		}
		for _, r := range rows {
			var id uint32
			if _, err := fmt.Sscan(r[0], &id); err != nil {
				t.Fatal(err)
			}
			if got := charsetOf(id); got != r[1] {
				t.Errorf("collation %d: charset %q, the server says %q", id, got, r[1])
			}
			if newCharset(r[1]) == nil {
				t.Errorf("no decoder for %s", r[1])
			}
		}
	})
}

// TestCharsets asks both servers what each sequence of one and two bytes of each
// character set stands for, of three in EUC-JP, and a sample of four in gb18030.
// What the server reads must be read as the same, and what it can't be refused.
func TestCharsets(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		for _, r := range ask(t, c, "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS") {
			name, cs := r[0], newCharset(r[0])
			if cs.form != formTable && cs.form != formMulti {
				continue
			}
			compareSequences(t, c, cs, "")
			for high := 0x80; cs.form == formMulti && high < 0x100; high++ {
				compareSequences(t, c, cs, fmt.Sprintf("%02x", high))
			}
			for high := 0x80; (name == "ujis" || name == "eucjpms") && high < 0x100; high++ {
				compareSequences(t, c, cs, fmt.Sprintf("8f%02x", high))
			}
			for k := 0; name == "gb18030" && k < 200; k++ {
				compareSequences(t, c, cs, fmt.Sprintf("%02x%02x%02x", 0x81+k*7%0x7e, 0x30+k%10, 0x81+k*11%0x7e))
			}
		}
	})
}

// compareSequences compares the 256 sequences that begin with prefix, which is
// hexadecimal.
func compareSequences(t *testing.T, c *client.Conn, cs *charset, prefix string) {
	t.Helper()
	columns := make([]string, 256)
	for low := range columns {
		columns[low] = fmt.Sprintf("HEX(CONVERT(CONVERT(x'%s%02x' USING %s) USING utf8mb4))", prefix, low, cs.name)
	}
	for low, answer := range ask(t, c, "SELECT "+strings.Join(columns, ","))[0] {
		if low == '?' { // what the servers answer for nothing; it ends no sequence
			continue
		}
		want, _ := hex.DecodeString(answer)
		if r, _ := utf8.DecodeRune(want); r == utf8.RuneError || bytes.ContainsRune(want, '?') {
			want = nil // the server has nothing for it
		}
		seq, _ := hex.DecodeString(fmt.Sprintf("%s%02x", prefix, low))
		got, err := cs.append(nil, seq)
		switch {
		case err != nil && want != nil:
			t.Errorf("%s %x: refused, the server says %q", cs.name, seq, want)
		case err == nil && string(got) != string(want):
			t.Errorf("%s %x: read as %+q, the server says %+q", cs.name, seq, got, want)
		}
	}
}
