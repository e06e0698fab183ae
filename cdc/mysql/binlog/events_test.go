package binlog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// TestGTIDs reads the GTIDs of MySQL, tagged ones too, against the set that the
// server says it has executed.
func TestGTIDs(t *testing.T) {
	db := testserver.MySQL(t)
	c := db.Conn(t)
	begin := time.Now()
	run(t, c, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)",
		"SET gtid_next = 'AUTOMATIC:a_tag'", "INSERT INTO d.t VALUES (2)",
		"SET gtid_next = '11111111-2222-3333-4444-555555555555:seven:9876543210'", "INSERT INTO d.t VALUES (3)",
		"SET gtid_next = 'AUTOMATIC'")
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	uuid := db.Value(t, "SELECT @@server_uuid")
	var got []string
	for i, ev := range r.other {
		if ev.Type != binlog.GTIDEvent && ev.Type != binlog.GTIDTaggedEvent {
			continue
		}
		g, err := binlog.ParseGTID(ev)
		if err != nil {
			t.Fatalf("%v: %x", err, ev.Body)
		}
		got = append(got, string(g.AppendText(nil)))
		at := time.UnixMicro(int64(g.OriginalCommit))
		if at.Before(begin.Add(-time.Minute)) || at.After(time.Now().Add(time.Minute)) || g.ImmediateCommit != g.OriginalCommit {
			t.Errorf("%s committed at %v, %d and %d", got, at, g.ImmediateCommit, g.OriginalCommit)
		}
		end := uint64(0)
		for _, next := range r.other[i+1:] {
			if next.Type == binlog.XIDEvent || next.Type == binlog.QueryEvent {
				end = uint64(next.LogPos)
				if q, err := r.p.Query(next); next.Type == binlog.XIDEvent || err == nil && string(q.SQL) != "BEGIN" {
					break
				}
			}
		}
		if want := end - uint64(ev.LogPos) + uint64(ev.Size); g.TransactionLength != want {
			t.Errorf("%s: a transaction of %d bytes, the log has %d", got[len(got)-1], g.TransactionLength, want)
		}
		if g.SequenceNumber != g.LastCommitted+1 && g.SequenceNumber <= g.LastCommitted || g.ImmediateVersion < 90700 {
			t.Errorf("%+v", g)
		}
	}
	want := []string{uuid + ":1", uuid + ":2", uuid + ":3", uuid + ":a_tag:1", "11111111-2222-3333-4444-555555555555:seven:9876543210"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestAnonymousGTIDs reads a log without GTIDs.
func TestAnonymousGTIDs(t *testing.T) {
	db := testserver.MySQL(t, testserver.NoGTID())
	db.Exec(t, "CREATE DATABASE d")
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	i := slices.IndexFunc(r.other, func(ev binlog.Event) bool { return ev.Type == binlog.AnonymousGTIDEvent })
	if i < 0 {
		t.Fatal("no ANONYMOUS_GTID")
	}
	if g, err := binlog.ParseGTID(r.other[i]); err != nil || !g.Anonymous || g.OriginalCommit == 0 {
		t.Errorf("%+v, %v", g, err)
	}
}

// TestMariaGTIDs reads MariaDB's GTIDs and their flags.
func TestMariaGTIDs(t *testing.T) {
	db := testserver.MariaDB(t)
	c := db.Conn(t)
	run(t, c, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO d.t VALUES (1)",
		"XA START 'g','b',7", "INSERT INTO d.t VALUES (2)", "XA END 'g','b',7", "XA PREPARE 'g','b',7", "XA COMMIT 'g','b',7",
		"SET gtid_domain_id = 5", "INSERT INTO d.t VALUES (3)", "FLUSH BINARY LOGS")
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	var last binlog.MariaGTID
	var list binlog.MariaGTIDList
	seen := map[uint8]int{}
	for _, ev := range r.other {
		var err error
		switch ev.Type {
		case binlog.MariaGTIDEvent:
			if last, err = binlog.ParseMariaGTID(ev); err != nil {
				t.Fatal(err)
			}
			for bit := uint8(1); bit != 0; bit <<= 1 {
				if last.Flags&bit != 0 {
					seen[bit]++
				}
			}
			if last.Flags&(binlog.MariaXAPrepared|binlog.MariaXACompleted) != 0 &&
				(string(last.GTRID) != "g" || string(last.BQUAL) != "b" || last.FormatID != 7) {
				t.Errorf("XA id %q %q %d", last.GTRID, last.BQUAL, last.FormatID)
			}
		case binlog.MariaGTIDListEvent:
			if list, err = binlog.ParseMariaGTIDList(ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := string(last.AppendText(nil)); !strings.Contains(db.Value(t, "SELECT @@gtid_binlog_pos"), got) || last.Domain != 5 {
		t.Errorf("the last GTID is %s, the server says %s", got, db.Value(t, "SELECT @@gtid_binlog_pos"))
	}
	if seen[binlog.MariaDDL] < 2 || seen[binlog.MariaStandalone] < 2 || seen[binlog.MariaXAPrepared] != 1 || seen[binlog.MariaXACompleted] != 1 {
		t.Errorf("flags: %v", seen)
	}
	var listed []string
	for _, g := range list.GTIDs {
		listed = append(listed, string(g.AppendText(nil)))
	}
	if len(listed) != 2 || !slices.Contains(listed, string(last.AppendText(nil))) {
		t.Errorf("the new file's list has %v", listed)
	}
}

// TestXAPrepare reads the id of a transaction of two phases in MySQL.
func TestXAPrepare(t *testing.T) {
	db := testserver.MySQL(t)
	run(t, db.Conn(t), "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)",
		"XA START 'left','right',3", "INSERT INTO d.t VALUES (2)", "XA END 'left','right',3", "XA PREPARE 'left','right',3", "XA COMMIT 'left','right',3")
	r := newLogReader(db.Flavor, noCatalog)
	r.dir(t, db)
	i := slices.IndexFunc(r.other, func(ev binlog.Event) bool { return ev.Type == binlog.XAPrepareEvent })
	if i < 0 {
		t.Fatal("no XA_PREPARE")
	}
	x, err := binlog.ParseXAPrepare(r.other[i])
	if err != nil || x.OnePhase || string(x.GTRID) != "left" || string(x.BQUAL) != "right" || x.FormatID != 3 {
		t.Errorf("%+v, %v", x, err)
	}
}

// TestCompressed reads what each server compresses: a whole transaction, or
// single events.
func TestCompressed(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		on := "SET binlog_transaction_compression = ON"
		if db.Flavor == testserver.FlavorMariaDB {
			on = "SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10"
		}
		run(t, c, "CREATE DATABASE d", "USE d", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000) CHARACTER SET latin1)", on)
		if db.Flavor == testserver.FlavorMariaDB {
			c = db.Conn(t) // sessions take the global value at their start
			run(t, c, "USE d")
		}
		const n = 300
		var values []string
		for i := range n {
			values = append(values, fmt.Sprintf("(%d, REPEAT('x%d', 300))", i, i%10))
		}
		run(t, c, "INSERT INTO t VALUES "+strings.Join(values, ","), "UPDATE t SET v = CONCAT(v, 'y')",
			"DELETE FROM t WHERE id < 10", "CREATE TABLE u (id INT PRIMARY KEY COMMENT '"+strings.Repeat("long ", 100)+"')")
		r := newLogReader(db.Flavor, noCatalog)
		r.dir(t, db)
		changes := r.changes["d.t"]
		if len(changes) != n+n+10 {
			t.Fatalf("%d changes", len(changes))
		}
		for i, ch := range changes[n : 2*n] {
			before := strings.Repeat(fmt.Sprintf("x%d", i%10), 300)
			if ch.before[1] != before || ch.after[1] != before+"y" {
				t.Fatalf("row %d: %.20q -> %.20q", i, ch.before[1], ch.after[1])
			}
		}
		if db.Flavor == testserver.FlavorMySQL {
			return
		}
		i := slices.IndexFunc(r.other, func(ev binlog.Event) bool { return ev.Type == binlog.MariaQueryCompressedEvent })
		if i < 0 {
			t.Fatal("no QUERY_COMPRESSED")
		}
		q, err := r.p.Query(r.other[i])
		if err != nil || q.Schema != "d" || !bytes.HasPrefix(q.SQL, []byte("CREATE TABLE u (id INT PRIMARY KEY COMMENT 'long ")) {
			t.Errorf("%+v, %v", q, err)
		}
	})
}

// TestRowImages reads rows that leave columns out: absent is not NULL.
func TestRowImages(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		c := db.Conn(t)
		run(t, c, "CREATE DATABASE d", "USE d",
			"CREATE TABLE t (a INT, id INT PRIMARY KEY, n INT, s TEXT, "+manyColumns(70)+")", "SET binlog_row_image = MINIMAL",
			"INSERT INTO t (id, a, s) VALUES (1, NULL, 'x')", "UPDATE t SET n = NULL, a = 3", "DELETE FROM t",
			"SET binlog_row_image = NOBLOB", "INSERT INTO t (id, s) VALUES (2, 'y')", "UPDATE t SET a = 4", "DELETE FROM t",
			"SET binlog_row_image = MINIMAL", "CREATE TABLE e (a INT, b INT)", "INSERT INTO e () VALUES ()")
		r := newLogReader(db.Flavor, noCatalog)
		files, _ := filepath.Glob(filepath.Join(db.BinlogDir(), "binlog.0*"))
		var err error
		for _, name := range files {
			if e := r.file(name); e != nil {
				err = e
			}
		}
		var got []string
		for _, ch := range r.changes["d.t"] {
			line := string(ch.op.Letter())
			for _, image := range [][]string{ch.before, ch.after} {
				if image != nil {
					line += " " + strings.Join(image[:4], ",")
				}
			}
			got = append(got, line)
		}
		want := []string{"c NULL,1,ABSENT,x", "u ABSENT,1,ABSENT,ABSENT 3,ABSENT,NULL,ABSENT", "d ABSENT,1,ABSENT,ABSENT",
			"c NULL,2,NULL,y", "u NULL,2,NULL,ABSENT 4,2,NULL,ABSENT", "d 4,2,NULL,ABSENT"}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		t.Logf("a row without any column: %v", err)
		if err != nil && !fault.HasCode(err, binlog.CodeUnsupported) || err == nil && len(r.changes["d.e"]) != 1 {
			t.Errorf("%v, %v", err, r.changes["d.e"])
		}
	})
}

func manyColumns(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("c%d INT", i))
	}
	return strings.Join(out, ",")
}

// TestStream parses what a replication connection delivers: the rotation before
// the format description, events with checksums, and heartbeats.
func TestStream(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1),(2)")
		s := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
			ServerID: 7, Flavor: db.Flavor, Host: "127.0.0.1", Port: uint16(db.Port()), User: "root",
			RawModeEnabled: true, HeartbeatPeriod: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		defer s.Close()
		stream, err := s.StartSync(mysql.Position{Name: "binlog.000001", Pos: 4})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := newLogReader(db.Flavor, noCatalog)
		for {
			raw, err := stream.GetEvent(ctx)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := r.p.Parse(raw.RawData)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.event(ev); err != nil {
				t.Fatal(err)
			}
			if ev.Type == binlog.HeartbeatEvent || ev.Type == binlog.HeartbeatV2Event {
				checkHeartbeat(t, db, ev)
				break
			}
		}
		rotate, err := binlog.ParseRotate(r.other[0])
		if err != nil || rotate != (binlog.Rotate{Position: 4, Name: "binlog.000001"}) {
			t.Errorf("the first event: %+v, %v", rotate, err)
		}
		if len(r.changes["d.t"]) != 2 {
			t.Errorf("changes: %v", r.changes)
		}
	})
}

func checkHeartbeat(t *testing.T, db *testserver.DB, ev binlog.Event) {
	hb, err := binlog.ParseHeartbeat(ev)
	if err != nil {
		t.Fatal(err)
	}
	status := "SHOW BINARY LOG STATUS"
	if db.Flavor == testserver.FlavorMariaDB {
		status = "SHOW BINLOG STATUS"
	}
	row := db.Query(t, status)[0]
	if hb.Name != row[0] || fmt.Sprint(hb.Position) != row[1] {
		t.Errorf("%s at %s:%d, the server is at %s:%s", ev.Type, hb.Name, hb.Position, row[0], row[1])
	}
	t.Logf("%s %+v", ev.Type, hb)
}
