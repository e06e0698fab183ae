package binlog_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// images are the servers' row images.
var images = []string{"FULL", "MINIMAL", "NOBLOB"}

// shift is what an update adds to the key.
const shift = 100000

// TestTypes is the matrix: each type with its edge values, in each row image,
// with full and with minimal metadata. What the log gives must be what the server
// prints for a SELECT.
func TestTypes(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		probes := cdctest.Probes(db.Flavor)
		catalog := catalogOf(t, db)
		r := newLogReader(db.Flavor, func(m *binlog.TableMap) *binlog.CatalogTable {
			n, _ := strconv.Atoi(strings.TrimPrefix(m.Table, "t"))
			if m.DB == "FULL" && !probes[n].Catalog {
				return nil
			}
			return catalog(m)
		})
		compareProbes(t, db, r, probes)
	}, testserver.Args("--max-allowed-packet=64M", "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0"))
}

// compareProbes writes probes in all ways and reads them.
func compareProbes(t *testing.T, db *testserver.DB, r *logReader, probes []cdctest.Probe) {
	t.Helper()
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		writeProbes(t, db, metadata, probes)
	}
	r.dir(t, db)
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		for n := range probes {
			if p := &probes[n]; !p.FullOnly || metadata == "FULL" {
				compareProbe(t, r, metadata+".t"+itoa(n), p)
			}
		}
	}
}

// writeProbes inserts, for each row image, every value and NULL, moves each to
// another key, makes all NULL, and deletes all.
func writeProbes(t *testing.T, db *testserver.DB, metadata string, probes []cdctest.Probe) {
	t.Helper()
	c := db.Conn(t)
	run(t, c, "SET GLOBAL binlog_row_metadata = "+metadata, "CREATE DATABASE "+metadata+" CHARACTER SET utf8mb4", "USE "+metadata,
		"SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'")
	for n := range probes {
		p := &probes[n]
		if p.FullOnly && metadata != "FULL" {
			continue
		}
		table := "t" + itoa(n)
		run(t, c, "CREATE TABLE "+table+" (id INT PRIMARY KEY, n INT, v "+p.Column+")")
		run(t, c, p.Setup...)
		for k, image := range images {
			run(t, c, "SET SESSION binlog_row_image = "+image, "BEGIN")
			for i, v := range p.Values {
				run(t, c, fmt.Sprintf("INSERT INTO %s VALUES (%d, %d, %s)", table, i, i, v.SQL))
			}
			run(t, c, fmt.Sprintf("INSERT INTO %s VALUES (%d, %d, NULL)", table, len(p.Values), len(p.Values)))
			if k == 0 && metadata == "FULL" {
				compareSelect(t, c, table, p)
			}
			run(t, c, "UPDATE "+table+" SET id = id + "+itoa(shift), "UPDATE "+table+" SET v = NULL", "DELETE FROM "+table, "COMMIT")
		}
	}
}

// compareSelect holds the matrix against the server's own answers.
func compareSelect(t *testing.T, c *client.Conn, table string, p *cdctest.Probe) {
	t.Helper()
	rows := query(t, c, "SELECT "+p.Expression()+" FROM "+table+" ORDER BY id")
	for i, v := range p.Values {
		if got := rows[i][0]; got != v.Text {
			t.Errorf("%s %s: the server prints %.200q, the matrix says %.200q", p.Column, short(v.SQL), got, short(v.Text))
		}
	}
}

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// compareProbe checks a table's inserts, both updates and deletes.
func compareProbe(t *testing.T, r *logReader, name string, p *cdctest.Probe) {
	t.Helper()
	s := r.schemas[name]
	if s == nil {
		t.Errorf("%s (%s): no rows", name, p.Column)
		return
	}
	if col := s.Columns[2]; col.Name != "v" || col.Type != p.Type || col.Scale != p.Scale() || !col.Nullable ||
		!slices.Equal(s.Key, []int{0}) || s.Columns[0].Nullable {
		t.Errorf("%s (%s): %+v with key %v, want type %v and scale %d", name, p.Column, s.Columns, s.Key, p.Type, p.Scale())
	}
	texts := []string{}
	for _, v := range p.Values {
		texts = append(texts, v.Text)
	}
	var want []change
	for _, image := range images {
		want = append(want, wantChanges(append(texts, cdctest.NullText), image, blobs[r.types[name][2]])...)
	}
	wrong := 0
	for i, got := range r.changes[name] {
		if i < len(want) && !same(want[i], got) && wrong < 3 {
			wrong++
			t.Errorf("%s (%s): change %d is %s, want %s", name, p.Column, i, brief(got), brief(want[i]))
		}
	}
	if len(r.changes[name]) != len(want) {
		t.Errorf("%s (%s): %d changes, want %d", name, p.Column, len(r.changes[name]), len(want))
	}
}

func same(a, b change) bool {
	return a.op == b.op && slices.Equal(a.before, b.before) && slices.Equal(a.after, b.after)
}

func brief(c change) string {
	return short(fmt.Sprintf("%c %q -> %q", c.op.Letter(), c.before, c.after))
}

// blobs are the types that binlog_row_image=NOBLOB leaves out where they did not
// change.
var blobs = map[binlog.ColumnType]bool{binlog.ColBlob: true, binlog.ColBlobCompressed: true}

// wantChanges are the images of what writeProbes did to values, as the servers'
// manuals define the three kinds of row image.
func wantChanges(values []string, image string, blob bool) (out []change) {
	const absent = cdctest.AbsentText
	// unchanged is a column in an image that did not need it.
	unchanged := func(text string, isBlob bool) string {
		if image == "MINIMAL" || image == "NOBLOB" && isBlob {
			return absent
		}
		return text
	}
	last := len(values) - 1
	for i, v := range values {
		out = append(out, change{op: sdk.OpInsert, after: []string{itoa(i), itoa(i), v}})
	}
	for i, v := range values {
		n := unchanged(itoa(i), false)
		out = append(out, change{op: sdk.OpUpdate, before: []string{itoa(i), n, unchanged(v, blob)},
			after: []string{itoa(i + shift), n, unchanged(v, blob)}})
	}
	for i, v := range values[:last] { // the last is NULL already
		n, id := unchanged(itoa(i), false), itoa(i+shift)
		after := id
		if image == "MINIMAL" {
			after = absent
		}
		out = append(out, change{op: sdk.OpUpdate, before: []string{id, n, unchanged(v, blob)}, after: []string{after, n, cdctest.NullText}})
	}
	for i := range values {
		out = append(out, change{op: sdk.OpDelete, before: []string{itoa(i + shift), unchanged(itoa(i), false), unchanged(cdctest.NullText, blob)}})
	}
	return out
}

// TestRefused writes what the servers take and can't print themselves: the row
// is refused and names its column, and no replacement character comes out.
func TestRefused(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d", "SET NAMES utf8mb4", "SET sql_mode = ''")
		refused := 0
		for n, p := range cdctest.Probes(db.Flavor) {
			for k, sql := range p.Refused {
				table := fmt.Sprintf("t%d_%d", n, k)
				run(t, c, "CREATE TABLE "+table+" (id INT PRIMARY KEY, v "+p.Column+")", "FLUSH BINARY LOGS", "INSERT INTO "+table+" VALUES (1, "+sql+")")
				err := lastFile(t, newLogReader(db.Flavor, noCatalog), db)
				if !isPoison(err, "d."+table+".v") {
					t.Errorf("%s %s: %v, and the server prints %q", p.Column, sql, err, query(t, c, "SELECT v FROM "+table))
				}
				refused++
			}
		}
		if refused == 0 {
			t.Error("the matrix refuses nothing")
		}
	})
}

// TestEveryCharset asks each server for its character sets: all have a line in
// the matrix.
func TestEveryCharset(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		for _, row := range query(t, db.Conn(t), "SHOW CHARACTER SET") {
			if !slices.ContainsFunc(cdctest.Probes(db.Flavor), func(p cdctest.Probe) bool {
				return strings.Contains(p.Column+" ", "CHARACTER SET "+row[0]+" ")
			}) {
				t.Errorf("character set %s has no line in the matrix", row[0])
			}
		}
	})
}

// TestSessionZone writes TIMESTAMP and DATETIME from sessions in several zones
// on a server in yet another: TIMESTAMP comes as UTC, DATETIME as it was written.
func TestSessionZone(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, ts TIMESTAMP(6) NULL, dt DATETIME(6))")
		for i, zone := range []string{"+00:00", "+05:30", "-11:00"} {
			run(t, c, "SET time_zone = '"+zone+"'", fmt.Sprintf("INSERT INTO t VALUES (%d, '2026-11-21 10:11:12.5', '2026-11-21 10:11:12.5')", i))
		}
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		run(t, c, "SET time_zone = '+00:00'")
		for i, row := range query(t, c, "SELECT id, ts, dt FROM t ORDER BY id") {
			if got := r.changes["d.t"][i].after; !slices.Equal(got, row) || row[2] != "2026-11-21 10:11:12.500000" {
				t.Errorf("decoded %q, the server prints %q", got, row)
			}
		}
		if got := r.changes["d.t"][1].after[1]; got != "2026-11-21 04:41:12.500000" {
			t.Errorf("half past five east: %s", got)
		}
	}, testserver.Args("--default-time-zone=+03:00"))
}

// TestFloats holds many DOUBLE and FLOAT columns against the servers' printing.
func TestFloats(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, f FLOAT, v DOUBLE)")
		var rows []string
		seed := uint64(7)
		for i := range 3000 {
			seed = seed*6364136223846793005 + 1442695040888963407
			digits := fmt.Sprintf("%d.%d", seed>>60, seed>>20&0xffffffff>>(seed>>33%32))
			rows = append(rows, fmt.Sprintf("(%d, %se%d, %se%d)", i, digits, int(seed>>35%70)-35, digits, int(seed>>33%600)-300))
		}
		run(t, c, "INSERT INTO t VALUES "+strings.Join(rows, ","))
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		for i, row := range query(t, c, "SELECT id, CAST(f AS DOUBLE), v FROM t ORDER BY id") {
			if got := r.changes["d.t"][i].after; !slices.Equal(got, row) {
				t.Errorf("%s: decoded %s, the server prints %s", rows[i], got, row)
			}
		}
	})
}
