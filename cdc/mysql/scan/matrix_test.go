package scan_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect opens a Conn to a test server, as its administrator.
func connect(t testing.TB, db *testserver.DB, change ...func(*scan.Options)) *scan.Conn {
	t.Helper()
	target, err := replica.ParseDSN(db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	o := scan.Options{Target: target}
	for _, f := range change {
		f(&o)
	}
	c, err := scan.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// plan plans table d.NAME.
func plan(t testing.TB, c *scan.Conn, table string, o scan.TableOptions) *scan.Table {
	t.Helper()
	tab, err := c.Plan(t.Context(), tables.Name{DB: "d", Table: table}, o)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// image is one row as the bytes of a batch that has nothing else in it, and its
// large values.
type image struct {
	region []byte
	large  [][]byte
}

var errRead = errors.New("all has been read")

// logged reads all rows of database d from the server's log, by table.
func logged(t testing.TB, db *testserver.DB, rows int) (schemas map[string]*sdk.Schema, images map[string][]image) {
	t.Helper()
	conf := *mysql.Default()
	conf.DSN, conf.Tables = unit.NewSecret(db.DSN()), []string{"d.*"}
	src, err := mysql.New(conf, cdc.Env{Pipeline: "matrix"})
	if err != nil {
		t.Fatal(err)
	}
	from, err := src.Initial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	schemas, images = map[string]*sdk.Schema{}, map[string][]image{}
	var b sdk.Builder
	err = src.Run(t.Context(), cdc.Start{Base: from}, func(_ context.Context, batch *cdc.Batch) error {
		defer batch.Release()
		for i := range batch.Rows() {
			r := batch.Row(i)
			s := *r.Schema()
			s.ID = 1
			schemas[s.Table] = &s
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			b.CopyRow(r)
			b.SetOrdinal(0)
			images[s.Table] = append(images[s.Table], picture(&b, &s, r.Schema().ID))
			rows--
		}
		if rows == 0 {
			return errRead
		}
		return nil
	})
	if err != errRead {
		t.Fatal(err)
	}
	return schemas, images
}

// picture seals a batch of one row. What names the operation and the schema's
// number is made the same.
func picture(b *sdk.Builder, s *sdk.Schema, id uint32) image {
	list := make([]*sdk.Schema, id+1)
	list[id] = s
	batch := b.Seal(list)
	row, out := batch.Row(0), image{}
	for i := range s.Columns {
		if _, _, large := row.After().IsLarge(i); large && !s.Columns[i].Type.Inline() && row.After().Has(i) {
			out.large = append(out.large, bytes.Clone(row.After().Bytes(i)))
		}
	}
	out.region = bytes.Clone(batch.Bytes())
	// By docs/design/batch-layout.md: the directory of rows, and in a row the
	// operation and the schema's number.
	const rowDir, rowOp, rowSchema = 24, 0, 4
	le := binary.LittleEndian
	r := out.region[le.Uint32(out.region[le.Uint32(out.region[rowDir:]):]):]
	r[rowOp] = byte(sdk.OpRead)
	le.PutUint32(r[rowSchema:], 1)
	return out
}

// scanned reads a table with chunks of so many rows.
func scanned(t testing.TB, c *scan.Conn, tab *scan.Table, rowsMax int) (images []image) {
	t.Helper()
	tab.Schema.ID = 1
	var b sdk.Builder
	for after := scan.Key(nil); ; {
		if _, err := c.Low(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		done, err := c.Chunk(t.Context(), tab, scan.Range{After: after, RowsMax: rowsMax}, func(r *scan.Row) error {
			b.Reset()
			b.BeginTx(sdk.TxInfo{})
			if err := r.Append(&b, 0); err != nil {
				return err
			}
			images = append(images, picture(&b, tab.Schema, 1))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.High(t.Context(), tab); err != nil {
			t.Fatal(err)
		}
		if done.End {
			return images
		}
		after = done.Last
	}
}

// TestMatrix writes every value of every type, and asserts that a SELECT gives
// the bytes that the log gives, and the same schema.
func TestMatrix(t *testing.T) {
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		t.Run(metadata, func(t *testing.T) {
			testserver.Each(t, func(t *testing.T, db *testserver.DB) {
				probes := cdctest.Probes(db.Flavor)
				rows := writeProbes(t, db, probes, metadata)
				schemas, images := logged(t, db, rows)
				c := connect(t, db)
				for n := range probes {
					p, name := &probes[n], fmt.Sprintf("t%d", n)
					if p.FullOnly && metadata != "FULL" {
						continue
					}
					o := scan.TableOptions{}
					if p.FullOnly {
						o.Schema = schemas[name]
					}
					tab := plan(t, c, name, o)
					if got, want := tab.Schema.Fingerprint(), schemas[name].Fingerprint(); got != want {
						t.Errorf("%s: the schema is\n%+v, the log has\n%+v", p.Column, tab.Schema, schemas[name])
					}
					compare(t, p.Column, images[name], scanned(t, c, tab, 3))
				}
			}, testserver.Args("--binlog-row-metadata="+metadata))
		})
	}
}

func compare(t *testing.T, what string, want, got []image) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, the log has %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !bytes.Equal(got[i].region, want[i].region) || !slices.EqualFunc(got[i].large, want[i].large, bytes.Equal) {
			t.Errorf("%s: row %d differs:\n%.500x\n%.500x", what, i, got[i].region, want[i].region)
		}
	}
}

// writeProbes fills one table for each probe and returns the rows written.
func writeProbes(t *testing.T, db *testserver.DB, probes []cdctest.Probe, metadata string) (rows int) {
	t.Helper()
	do := session(t, db)
	do("CREATE DATABASE d CHARACTER SET utf8mb4", "USE d", "SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'")
	for n := range probes {
		p := &probes[n]
		if p.FullOnly && metadata != "FULL" {
			continue
		}
		table := fmt.Sprintf("t%d", n)
		do("CREATE TABLE " + table + " (id INT PRIMARY KEY, n INT, v " + p.Column + ")")
		do(p.Setup...)
		for _, s := range p.Setup {
			if strings.HasPrefix(s, "INSERT") {
				rows++
			}
		}
		for i, v := range append(slices.Clone(p.Values), cdctest.Value{SQL: "NULL"}) {
			do(fmt.Sprintf("INSERT INTO %s VALUES (%d, %d, %s)", table, i, i, v.SQL))
			rows++
		}
	}
	return rows
}

// session returns what runs statements in one session.
func session(t testing.TB, db *testserver.DB) func(sql ...string) {
	t.Helper()
	c := db.Conn(t)
	return func(sql ...string) {
		t.Helper()
		for _, s := range sql {
			if _, err := c.Execute(s); err != nil {
				t.Fatalf("%v in: %.200s", err, s)
			}
		}
	}
}
