package binlog_test

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/skip"
	"github.com/cdcd-io/cdcd/sdk"
)

// corpusFile opens a recorded binlog; the test is skipped where the recordings
// are not there.
func corpusFile(t testing.TB, name string) *binlog.FileReader {
	t.Helper()
	path := filepath.Join("..", "..", "..", "..", "shared", "corpus", "binlogs", name)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		skip.For(t, "the recorded binlogs: ../shared/corpus/binlogs beside the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	var r io.Reader = f
	if filepath.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	fr, err := binlog.NewFileReader(r, name, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fr
}

// characters is the length of a text of latin1, or of utf8mb4 where the log
// knows its collation.
func characters(m *binlog.ColumnMap, c *binlog.CatalogColumn) string {
	if m.Collation == 0 {
		return strconv.Itoa(int(m.Meta))
	}
	c.Charset = "utf8mb4"
	return strconv.Itoa(int(m.Meta) / 4)
}

// guess makes a catalog for logs without metadata: what a test needs to decode
// every row, whatever its meaning.
func guess(m *binlog.TableMap) *binlog.CatalogTable {
	c := &binlog.CatalogTable{DB: m.DB, Table: m.Table}
	for i := range m.Columns {
		col := binlog.CatalogColumn{Name: "c" + string(rune('a'+i)), Charset: "latin1", Nullable: m.Columns[i].Nullable}
		switch m.Columns[i].Type {
		case binlog.ColTiny:
			col.Native = "tinyint unsigned"
		case binlog.ColShort:
			col.Native = "smallint unsigned"
		case binlog.ColInt24:
			col.Native = "mediumint unsigned"
		case binlog.ColLong:
			col.Native = "int unsigned"
		case binlog.ColLongLong:
			col.Native = "bigint"
		case binlog.ColFloat:
			col.Native = "float"
		case binlog.ColDouble:
			col.Native = "double"
		case binlog.ColNewDecimal:
			col.Native = "decimal"
		case binlog.ColTimestamp, binlog.ColTimestamp2:
			col.Native = "timestamp"
		case binlog.ColDateTime, binlog.ColDateTime2:
			col.Native = "datetime"
		case binlog.ColDate:
			col.Native = "date"
		case binlog.ColYear:
			col.Native = "year"
		case binlog.ColVarchar:
			col.Native = "varchar(" + characters(&m.Columns[i], &col) + ")"
		case binlog.ColString:
			col.Native = "char(" + characters(&m.Columns[i], &col) + ")"
		case binlog.ColBlob:
			col.Native, col.Charset = [...]string{"", "tinyblob", "blob", "mediumblob", "longblob"}[m.Columns[i].Meta], ""
		case binlog.ColEnum:
			col.Native = "enum"
			for k := range 255 {
				col.Labels = append(col.Labels, string(rune(0x100+k)))
			}
		case binlog.ColSet:
			col.Native = "set"
			for k := range 8 * int(m.Columns[i].Meta) {
				col.Labels = append(col.Labels, string(rune(0x100+k)))
			}
		case binlog.ColGeometry:
			col.Native = "geometry"
		case binlog.ColJSON:
			col.Native = "json"
		}
		if m.Columns[i].SignKnown && !m.Columns[i].Unsigned {
			col.Native = strings.TrimSuffix(col.Native, " unsigned")
		}
		c.Columns = append(c.Columns, col)
	}
	return c
}

// reader decodes every row of a stream of events into a builder.
type reader struct {
	t      testing.TB
	p      *binlog.Parser
	b      sdk.Builder
	plans  map[*binlog.TableMap]*binlog.RowPlan
	events map[binlog.EventType]int
	images int
	rows   int
	bytes  int
}

func newReader(t testing.TB, o binlog.Options) *reader {
	r := &reader{t: t, p: binlog.NewParser(o), plans: map[*binlog.TableMap]*binlog.RowPlan{}, events: map[binlog.EventType]int{}}
	r.b.Reset()
	r.b.BeginTx(sdk.TxInfo{})
	return r
}

func (r *reader) event(ev binlog.Event) {
	r.t.Helper()
	r.events[ev.Type]++
	switch {
	case ev.Type == binlog.TableMapEvent:
		m, err := r.p.TableMap(ev)
		r.must(err)
		if r.plans[m] == nil {
			s, pl, err := binlog.BuildSchema(m, guess(m))
			r.must(err)
			s.ID = uint32(len(r.plans) + 1)
			r.plans[m] = pl
		}
	case ev.Type == binlog.TransactionPayloadEvent:
		l, err := r.p.Payload(ev)
		r.must(err)
		for {
			inner, err := l.Next()
			if err == io.EOF {
				break
			}
			r.must(err)
			r.event(inner)
		}
	case ev.Type.IsRows():
		h, data, err := r.p.RowsHeader(ev)
		r.must(err)
		data, err = r.p.Expand(&h, data)
		r.must(err)
		rows, err := r.plans[r.p.Table(h.TableID)].Rows(h, data)
		r.must(err)
		for rows.More() {
			_, err := rows.Next(&r.b, 0)
			r.must(err)
			r.rows++
			r.images++
			if h.Op == sdk.OpUpdate {
				r.images++
			}
			if r.b.Rows() >= 512 {
				r.b.Reset()
				r.b.BeginTx(sdk.TxInfo{})
			}
		}
	}
}

func (r *reader) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *reader) file(f *binlog.FileReader) {
	r.t.Helper()
	for {
		raw, _, err := f.Next()
		if err == io.EOF {
			return
		}
		r.must(err)
		ev, err := r.p.Parse(raw)
		r.must(err)
		r.bytes += len(raw)
		r.event(ev)
	}
}

// TestCorpus reads the recorded binlogs to their ends.
func TestCorpus(t *testing.T) {
	for _, c := range []struct {
		name   string
		images int // of rows
		format string
	}{
		{"mysql-bin.sakila.gz", 47273, "5.5"},
		{"mysql-bin.checksum-crc32", -1, "5.7.21"},
		{"mysql-bin.checksum-none", -1, "5.7.20"},
		{"mysql-bin.compressed", -1, "8.0.28"},
		{"mysql-bin.aurora-padding", -1, "5.7.12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReader(t, binlog.Options{VerifyChecksum: true})
			r.file(corpusFile(t, c.name))
			f, _ := r.p.Format()
			t.Logf("%s, checksum %d: %d rows, %d images, %v", f.ServerVersion, f.Checksum, r.rows, r.images, r.events)
			if c.images >= 0 && r.images != c.images {
				t.Errorf("%d row images, want %d", r.images, c.images)
			}
		})
	}
}
