package binlog_test

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/sdk"
)

// TestAgainstGoMySQL decodes the recorded logs of MySQL 5.5 and 5.7 with
// go-mysql too, and compares every value whose form both agree on.
func TestAgainstGoMySQL(t *testing.T) {
	for _, name := range []string{"mysql-bin.sakila.gz", "mysql-bin.checksum-crc32", "mysql-bin.checksum-none"} {
		t.Run(name, func(t *testing.T) {
			f := corpusFile(t, name)
			theirs := replication.NewBinlogParser()
			theirs.SetTimestampStringLocation(time.UTC)
			p, plans := binlog.NewParser(binlog.Options{}), map[*binlog.TableMap]*binlog.RowPlan{}
			compared := 0
			for {
				raw, _, err := f.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				their, err := theirs.Parse(bytes.Clone(raw))
				if err != nil {
					t.Fatal(err)
				}
				ev, err := p.Parse(raw)
				if err != nil {
					t.Fatal(err)
				}
				if ev.Type == binlog.TableMapEvent {
					m, err := p.TableMap(ev)
					if err != nil {
						t.Fatal(err)
					}
					_, pl, err := binlog.BuildSchema(m, guess(m))
					if err != nil {
						t.Fatal(err)
					}
					pl.Schema().ID, plans[m] = 1, pl
				}
				if rows, ok := their.Event.(*replication.RowsEvent); ok {
					compared += compareRows(t, p, plans, ev, rows.Rows)
				}
			}
			t.Logf("%d values", compared)
			if compared < 100 {
				t.Errorf("only %d values compared", compared)
			}
		})
	}
}

func compareRows(t *testing.T, p *binlog.Parser, plans map[*binlog.TableMap]*binlog.RowPlan, ev binlog.Event, theirs [][]any) (compared int) {
	t.Helper()
	h, data, err := p.RowsHeader(ev)
	if err != nil {
		t.Fatal(err)
	}
	pl := plans[p.Table(h.TableID)]
	var b sdk.Builder
	b.Reset()
	b.BeginTx(sdk.TxInfo{})
	if _, err := pl.AppendRows(&b, h, data, 0, nil); err != nil {
		t.Fatal(err)
	}
	batch := b.Seal([]*sdk.Schema{nil, pl.Schema()})
	k := 0
	for i := range batch.Rows() {
		for _, m := range []sdk.Image{batch.Row(i).Before(), batch.Row(i).After()} {
			if !m.Valid() {
				continue
			}
			for c, v := range theirs[k] {
				col := &pl.Schema().Columns[c]
				want, ok := theirText(col, v)
				if got := cdctest.ServerText(col, m, c); ok && got != want {
					t.Errorf("%s.%s: %q, go-mysql %q", pl.Schema().FullName(), col.Name, got, want)
				}
				if ok {
					compared++
				}
			}
			k++
		}
	}
	if k != len(theirs) {
		t.Errorf("%d images, go-mysql %d", k, len(theirs))
	}
	return compared
}

// theirText prints go-mysql's value as ServerText does; false where the two differ
// by design: labels, character sets, JSON, bits and floats.
func theirText(c *sdk.Column, v any) (string, bool) {
	if v == nil {
		return cdctest.NullText, true
	}
	switch c.Type {
	case sdk.TypeInt, sdk.TypeUint:
		n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		return fmt.Sprint(v), err == nil && n >= 0 // the sign is not in these logs
	case sdk.TypeYear:
		return fmt.Sprintf("%04d", v), true
	case sdk.TypeDecimal, sdk.TypeDate, sdk.TypeDateTime, sdk.TypeTimestamp:
		return fmt.Sprint(v), true
	case sdk.TypeString:
		text := fmt.Sprint(v)
		for i := range len(text) {
			if text[i] >= 0x80 {
				return "", false
			}
		}
		return text, true
	case sdk.TypeBytes:
		if raw, ok := v.([]byte); ok {
			return fmt.Sprintf("%x", raw), true
		}
	}
	return "", false
}
