package oracle

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// reference turns a binlog into the stream that it should become, by way of
// somebody else's decoder, and keeps the transaction that is open.
type reference struct {
	t       *testing.T
	p       publisher
	tables  map[string]*table
	file    string
	begin   uint32 // position behind the event that began the transaction
	changes []change
}

// The Workload and the Checker agree on a real log, with its rollbacks,
// savepoints, deadlocks, moved keys and large transactions.
func TestCheckerAcceptsARealLog(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		w := NewWorkload(db, Options{Seed: 3, Interval: time.Millisecond, LargeRows: 400, LargeEvery: 60})
		if err := w.Create(); err != nil {
			t.Fatal(err)
		}
		run(t, w, func() {
			waitFor(t, "800 transactions", func() bool { return w.Stats().Transactions > 800 })
		})
		r := &reference{t: t, tables: map[string]*table{}}
		r.p.add("cdc.p._cdcd", map[string]string{headerKind: "marker", headerBase: "x"}, `{"op":"m"}`)
		for _, table := range tables() {
			r.tables[table.name] = table
		}
		r.read(db)
		database, err := w.Tables()
		if err != nil {
			t.Fatal(err)
		}
		report := check(r.p.messages, database)
		t.Logf("%+v, stream: %d rows, %d transactions", w.Stats(), report.Rows, report.Transactions)
		if report.Wrong() || report.Rows < int(w.Stats().Rows) {
			t.Errorf("%+v\n%s", report.Counts, strings.Join(report.Findings, "\n"))
		}
	})
}

func (r *reference) read(db *testserver.DB) {
	r.t.Helper()
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{ServerID: 4711, Flavor: db.Flavor, Host: "127.0.0.1",
		Port: uint16(db.Port()), User: "root", Logger: slog.New(slog.DiscardHandler), TimestampStringLocation: time.UTC})
	defer syncer.Close()
	events, err := syncer.StartSync(mysql.Position{Name: "binlog.000001", Pos: 4})
	if err != nil {
		r.t.Fatal(err)
	}
	db.Exec(r.t, "CREATE DATABASE the_end")
	for {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		e, err := events.GetEvent(ctx)
		cancel()
		if err != nil {
			r.t.Fatal(err)
		}
		switch event := e.Event.(type) {
		case *replication.RotateEvent:
			r.file = string(event.NextLogName)
		case *replication.QueryEvent:
			if strings.Contains(string(event.Query), "the_end") {
				return
			}
			r.begin = e.Header.LogPos
		case *replication.MariadbGTIDEvent:
			r.begin = e.Header.LogPos
		case *replication.RowsEvent:
			r.rows(e.Header.EventType, event)
		case *replication.XIDEvent:
			if len(r.changes) > 0 {
				r.p.tx++
				r.publish()
			}
		}
	}
}

// publish renames the positions that publisher makes up to real ones.
func (r *reference) publish() {
	first := len(r.p.messages)
	r.p.publish(r.changes, len(r.changes)%3 == 0)
	for i := first; i < len(r.p.messages); i++ {
		m := &r.p.messages[i]
		if pos := m.header(headerPos); pos != "" {
			_, place, _ := strings.Cut(pos, "#")
			m.Header[headerPos] = []string{fmt.Sprintf("%s:%d#%s", r.file, r.begin, place)}
		}
	}
	r.changes = nil
}

func (r *reference) rows(kind replication.EventType, e *replication.RowsEvent) {
	t := r.tables[string(e.Table.Table)]
	if t == nil {
		return
	}
	switch kind {
	case replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2:
		for _, row := range e.Rows {
			r.changes = append(r.changes, change{t, "c", nil, r.image(t, row)})
		}
	case replication.DELETE_ROWS_EVENTv1, replication.DELETE_ROWS_EVENTv2:
		for _, row := range e.Rows {
			r.changes = append(r.changes, change{t, "d", r.image(t, row), nil})
		}
	case replication.UPDATE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv2:
		for i := 0; i+1 < len(e.Rows); i += 2 {
			r.changes = append(r.changes, change{t, "u", r.image(t, e.Rows[i]), r.image(t, e.Rows[i+1])})
		}
	default:
		r.t.Fatalf("rows event %s", kind)
	}
}

// image renders a row as the format json does.
func (r *reference) image(t *table, row []any) map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	for i, col := range t.columns {
		text, err := json.Marshal(reading(col, row[i]))
		if err != nil {
			r.t.Fatal(err)
		}
		values[col.name] = text
	}
	return values
}

// reading undoes what go-mysql leaves to its users: signs, labels, padding.
func reading(c column, value any) any {
	unsigned := strings.Contains(c.ddl, "UNSIGNED")
	switch v := value.(type) {
	case int32:
		if unsigned {
			return uint32(v)
		}
	case int64:
		switch c.name {
		case "color":
			return []string{"red", "green", "blue"}[v-1]
		case "tags":
			var labels []string
			for i, label := range []string{"a", "b", "c", "d"} {
				if v&(1<<i) != 0 {
					labels = append(labels, label)
				}
			}
			return strings.Join(labels, ",")
		}
		if unsigned {
			return uint64(v)
		}
	case string:
		if c.name == "span" && !strings.Contains(v, ".") {
			return v + ".000"
		}
		if c.name == "raw" {
			return base64.StdEncoding.EncodeToString([]byte(v + strings.Repeat("\x00", 8-len(v))))
		}
	case []byte:
		switch c.kind {
		case kindBytes:
			return base64.StdEncoding.EncodeToString(v)
		case kindJSON:
			return json.RawMessage(v)
		}
		return string(v)
	case float64:
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
	}
	return value
}
