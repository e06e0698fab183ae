package snapshot

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/sdk"
)

var rowsTable = &Table{Name: Name{"d", "t"}, Key: []int{0},
	Schema: &sdk.Schema{ID: 1, DB: "d", Table: "t", Key: []int{0}, Columns: []sdk.Column{{Name: "id", Type: sdk.TypeInt}, {Name: "v", Type: sdk.TypeInt}}}}

// taken returns rows with the keys 10, 20, ... in batches of so many.
func taken(t testing.TB, p *pool, batch, n int) *Rows {
	t.Helper()
	p.rows = batch
	r := newRows(p, 0, nil, rowsTable, 3, []byte("binlog.000009"))
	for i := range n {
		add(t, r, int64(10*(i+1)))
	}
	r.Begin([]*sdk.Schema{nil, rowsTable.Schema})
	r.seal()
	return r
}

func add(t testing.TB, r *Rows, key int64) {
	err := r.Add(func(dst []byte) ([]byte, error) { return strconv.AppendInt(dst, key, 10), nil }, func(b *sdk.Builder) error {
		b.BeginRow(rowsTable.Schema, sdk.OpRead, sdk.RowAfter, 0)
		image(b.After, rowsTable.Schema, [2]int64{key, key + 1})
		b.EndRow()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Batches leave the chunk where the stream stands, without what it has told
// about, whether or not they fit as they were read.
func TestPlace(t *testing.T) {
	for _, k := range []struct {
		log  string
		gone []int64
		want []string
	}{
		{"binlog.000009:77", nil, []string{"10 20", "30 40", "50"}},
		{"binlog.000010:4", []int64{30, 99, 50}, []string{"10 20", "40", ""}},
		{"binlog.1000000:4", []int64{10}, []string{"20", "30 40", "50"}},
		{"", nil, []string{"10 20", "30 40", "50"}},
	} {
		p := &pool{}
		p.keep(8)
		w := &window{t: rowsTable, rows: taken(t, p, 2, 5)}
		for _, key := range k.gone {
			w.touch(identity(key))
		}
		file, at := place(k.log)
		var got []string
		for i := range w.rows.parts {
			if key := w.rows.lastKey(&w.rows.parts[i]); key != Key([]string{"20", "40", "50"}[i]) {
				t.Errorf("batch %d ends at %q", i, key)
			}
			b := w.place(i, k.log, 123).Seal(w.rows.schemas)
			if err := b.Check(); err != nil {
				t.Error(err)
			}
			text := ""
			for j := range b.Rows() {
				row, tx := b.Row(j), b.Row(j).Tx()
				text += " " + strconv.FormatInt(row.After().Int(0), 10)
				id := "snapshot/d.t/3/" + strconv.FormatInt(row.After().Int(0), 10)
				if string(tx.ID()) != id || string(tx.File()) != string(file) || tx.PosStart() != at || tx.Time() != 123 || !tx.Whole() || row.Ordinal() != 0 || b.Time() != 123 {
					t.Errorf("%s at %s:%d, %d: want %s at %s", tx.ID(), tx.File(), tx.PosStart(), tx.Time(), id, k.log)
				}
			}
			if text != "" {
				text = text[1:]
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(k.want, got); diff != "" {
			t.Errorf("%q without %d (-want +got):\n%s", k.log, k.gone, diff)
		}
		w.touch(identity(10)) // what is handed on is somebody else's
		w.rows.release()
	}
}

func identity(key int64) []byte {
	var b sdk.Builder
	b.Reset()
	b.BeginTx(sdk.TxInfo{})
	b.BeginRow(rowsTable.Schema, sdk.OpRead, sdk.RowAfter, 0)
	image(b.After, rowsTable.Schema, [2]int64{key, 0})
	b.EndRow()
	b.EndTx(0, 0)
	dst, _ := appendIdentity(nil, rowsTable.Key, rowsTable.Schema, b.Seal([]*sdk.Schema{nil, rowsTable.Schema}).Row(0).After(), sdk.Image{})
	return dst
}

func TestIndex(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000} {
		r := taken(t, &pool{}, 7, n)
		x := newIndex(r, rowsTable)
		for i := range n {
			if got := x.find(identity(int64(10 * (i + 1)))); got != i {
				t.Errorf("row %d of %d is found as %d", i, n, got)
			}
			if got := x.find(identity(int64(10*(i+1) + 1))); got != -1 {
				t.Errorf("no row of %d is found as %d", n, got)
			}
		}
	}
}

// What a chunk takes is known while it grows, and is given back.
func TestRowsBytes(t *testing.T) {
	p := &pool{}
	p.keep(100)
	r := taken(t, p, 50, 1000)
	sum := 0
	for i := range r.parts {
		sum += r.parts[i].batch.Size()
	}
	if got := r.Bytes(); got < sum*9/10 || got > sum*11/10 || r.Len() != 1000 {
		t.Errorf("%d rows, %d bytes; the batches have %d", r.Len(), got, sum)
	}
	if r.release(); len(p.free) != 20 {
		t.Errorf("%d builders wait for use", len(p.free))
	}
	if p.keep(3); len(p.free) != 3 {
		t.Errorf("%d builders wait for use, of 3 that may", len(p.free))
	}
}

// Nothing is allocated for a row once the buffers are there.
func TestAllocationsOfRows(t *testing.T) {
	p := &pool{}
	p.keep(100)
	key := func(dst []byte) ([]byte, error) { return append(dst, "17"...), nil }
	row := func(b *sdk.Builder) error {
		b.BeginRow(rowsTable.Schema, sdk.OpRead, sdk.RowAfter, 0)
		b.EndRow()
		return nil
	}
	p.rows = 512
	schemas := []*sdk.Schema{nil, rowsTable.Schema}
	n := testing.AllocsPerRun(10, func() {
		r := newRows(p, 0, nil, rowsTable, 0, []byte("binlog.000001"))
		for range 10_000 {
			if err := r.Add(key, row); err != nil {
				t.Fatal(err)
			}
		}
		r.Begin(schemas)
		r.seal()
		w := &window{t: rowsTable, rows: r}
		for i := range r.parts {
			p.put(w.place(i, "binlog.000001:4", 1))
		}
	})
	if n > 100 {
		t.Errorf("%v allocations for 10,000 rows in 20 batches", n)
	}
}

func BenchmarkRows(b *testing.B) {
	p := &pool{}
	p.keep(100)
	for b.Loop() {
		r := taken(b, p, 512, 10_000)
		w := &window{t: rowsTable, rows: r}
		for i := range r.parts {
			p.put(w.place(i, fmt.Sprint("binlog.000009:", i), 1))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
}
