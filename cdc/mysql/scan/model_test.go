package scan_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk"
)

// modelRow is a row of the model; its key is (a, b descending).
type modelRow struct {
	a int64
	b uint64
	v int64
}

func compareRows(x, y modelRow) int {
	return cmp.Or(cmp.Compare(x.a, y.a), -cmp.Compare(x.b, y.b))
}

// TestModel draws tables, sizes of chunks, and what happens between chunks: rows
// come, go, change and move over boundaries. Each chunk is what the model has
// behind the boundary, no more than it may be, and no row that stays where it is
// comes twice or never.
func TestModel(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		do := session(t, db)
		do("CREATE DATABASE d", "CREATE TABLE d.m (v BIGINT NOT NULL, b BIGINT UNSIGNED NOT NULL, a SMALLINT NOT NULL, PRIMARY KEY (a, b DESC))")
		c := connect(t, db)
		for _, where := range []string{"", "v % 3 <> 0"} {
			tab := plan(t, c, "m", scan.TableOptions{Where: where})
			rapid.Check(t, func(rt *rapid.T) {
				m := model{do: do, where: where != ""}
				do("DELETE FROM d.m")
				for range rapid.IntRange(0, 12).Draw(rt, "rows") {
					m.insert(rt)
				}
				m.run(rt, c, tab)
			})
		}
	})
}

// model is the table as it should be.
type model struct {
	do    func(sql ...string)
	rows  []modelRow // in order
	where bool
	next  int64
	moved map[modelRow]bool // touched since the beginning, by their key
}

var modelKeys = rapid.Custom(func(t *rapid.T) modelRow {
	return modelRow{a: rapid.SampledFrom([]int64{-32768, -1, 0, 1, 32767}).Draw(t, "a"),
		b: rapid.SampledFrom([]uint64{0, 1, 1 << 63, 1<<63 + 1, 1<<64 - 1}).Draw(t, "b")}
})

func (m *model) find(k modelRow) (int, bool) { return slices.BinarySearchFunc(m.rows, k, compareRows) }

func (m *model) touch(k modelRow) {
	if k.v = 0; m.moved != nil {
		m.moved[k] = true
	}
}

func (m *model) insert(t *rapid.T) {
	k := modelKeys.Draw(t, "new")
	i, there := m.find(k)
	if there {
		return
	}
	m.next++
	k.v = m.next
	m.rows = slices.Insert(m.rows, i, k)
	m.do(fmt.Sprintf("INSERT INTO d.m (a, b, v) VALUES (%d, %d, %d)", k.a, k.b, k.v))
	m.touch(k)
}

// disturb does something to the table.
func (m *model) disturb(t *rapid.T) {
	if len(m.rows) == 0 || rapid.Bool().Draw(t, "insert") {
		m.insert(t)
		return
	}
	i := rapid.IntRange(0, len(m.rows)-1).Draw(t, "row")
	old := m.rows[i]
	place := fmt.Sprintf(" WHERE a = %d AND b = %d", old.a, old.b)
	m.touch(old)
	switch rapid.IntRange(0, 2).Draw(t, "what") {
	case 0:
		m.rows = slices.Delete(m.rows, i, i+1)
		m.do("DELETE FROM d.m" + place)
	case 1:
		m.next++
		m.rows[i].v = m.next
		m.do(fmt.Sprintf("UPDATE d.m SET v = %d", m.next) + place)
	case 2:
		k := modelKeys.Draw(t, "to")
		if _, there := m.find(k); there {
			return
		}
		m.rows = slices.Delete(m.rows, i, i+1)
		k.v = old.v
		at, _ := m.find(k)
		m.rows = slices.Insert(m.rows, at, k)
		m.do(fmt.Sprintf("UPDATE d.m SET a = %d, b = %d", k.a, k.b) + place)
		m.touch(k)
	}
}

// run reads the table, and disturbs it between chunks.
func (m *model) run(t *rapid.T, c *scan.Conn, tab *scan.Table) {
	m.moved = map[modelRow]bool{}
	before := slices.Clone(m.rows)
	seen := map[modelRow]int{}
	var after *modelRow
	r := scan.Range{}
	for {
		r.RowsMax = rapid.IntRange(1, 5).Draw(t, "size")
		r.BytesMax = rapid.SampledFrom([]int{0, 1, 60}).Draw(t, "bytes")
		got, done := m.chunk(t, c, tab, r)
		var want []modelRow
		for _, k := range m.rows {
			if after == nil || compareRows(k, *after) > 0 {
				want = append(want, k)
			}
		}
		if !m.where && len(want) > r.RowsMax {
			want = want[:r.RowsMax]
		}
		looked := min(len(want), r.RowsMax)
		if m.where {
			if len(want) > r.RowsMax {
				want = want[:r.RowsMax]
			}
			want = slices.DeleteFunc(want, func(k modelRow) bool { return k.v%3 == 0 })
		}
		if r.BytesMax > 0 && len(got) < len(want) && len(got) > 0 {
			want = want[:len(got)]
		}
		if d := gocmp.Diff(want, got, gocmp.AllowUnexported(modelRow{})); d != "" && len(want)+len(got) > 0 {
			t.Fatalf("behind %v, %+v: %s", after, r, d)
		}
		for _, k := range got {
			k.v = 0
			seen[k]++
		}
		if done.End {
			if looked == r.RowsMax && !m.where {
				t.Fatalf("a full chunk says that it is the end")
			}
			break
		}
		last := m.last(t, c, tab, done.Last, after)
		after, r.After = &last, done.Last
		for range rapid.IntRange(0, 4).Draw(t, "disturbances") {
			m.disturb(t)
		}
	}
	for _, k := range before {
		want := 1
		if m.where && k.v%3 == 0 {
			want = 0
		}
		if k.v = 0; !m.moved[k] && seen[k] != want {
			t.Fatalf("%v stayed where it was and came %d times", k, seen[k])
		}
	}
}

// last returns the row that a key names: the one in the model whose key it is.
func (m *model) last(t *rapid.T, c *scan.Conn, tab *scan.Table, key scan.Key, after *modelRow) modelRow {
	var at modelRow
	n, err := fmt.Sscanf(string(key[len("k1~01234567~"):]), "i%d~u%d", &at.a, &at.b)
	if n != 2 || err != nil {
		t.Fatalf("key %s: %v", key, err)
	}
	if _, there := m.find(at); !there || after != nil && compareRows(at, *after) <= 0 {
		t.Fatalf("key %s names no row behind %v", key, after)
	}
	return at
}

func (m *model) chunk(t *rapid.T, c *scan.Conn, tab *scan.Table, r scan.Range) (got []modelRow, done scan.Done) {
	ctx := t.Context()
	if _, err := c.Low(ctx, tab); err != nil {
		t.Fatal(err)
	}
	var b sdk.Builder
	done, err := c.Chunk(ctx, tab, r, func(row *scan.Row) error {
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		err := row.Append(&b, 0)
		got = append(got, modelRow{v: b.After().Int(0), b: b.After().Uint(1), a: b.After().Int(2)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.High(ctx, tab); err != nil {
		t.Fatal(err)
	}
	return got, done
}
