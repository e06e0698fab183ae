package mysql

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
)

func TestValidate(t *testing.T) {
	good := func() Config { return Config{DSN: unit.NewSecret("mysql://u:p@h"), Tables: []string{"a.b"}} }
	for _, c := range []struct {
		code, path string
		change     func(*Config)
	}{
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.Secret{} }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("postgres://u:p@h") }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("mysql://u:secret%@h") }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("mysql://u:p@h/shop") }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("mysql://u:p@h?tls=maybe") }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("mysql://u:p@h?ssl=1") }},
		{"dsn_invalid", "dsn", func(c *Config) { c.DSN = unit.NewSecret("mysql://u:p@h,h:3306") }},
		{"tables_invalid", "tables", func(c *Config) { c.Tables = nil }},
		{"tables_invalid", "tables[0]", func(c *Config) { c.Tables = []string{"orders"} }},
		{"snapshot_options_invalid", "snapshot_options.workers", func(c *Config) { c.SnapshotOptions.Workers = -1 }},
		{"snapshot_options_invalid", "snapshot_options.chunk_bytes", func(c *Config) { c.SnapshotOptions.ChunkBytes = 1 }},
		{"snapshot_options_invalid", "snapshot_options.tables[1].table", func(c *Config) {
			c.SnapshotOptions.Tables = []SnapshotTable{{Table: "shop.a"}, {Table: "b"}}
		}},
		{"snapshot_invalid", "snapshot", func(c *Config) { c.Snapshot = "yes" }},
		{"on_lost_position_invalid", "on_lost_position", func(c *Config) { c.OnLostPosition = "resnapshot" }},
		{"on_lost_position_invalid", "on_lost_position", func(c *Config) { c.OnLostPosition = "skip" }},
		{"mode_invalid", "mode", func(c *Config) { c.Mode = "pos" }},
		{"start_invalid", "start", func(c *Config) { c.Start = "now" }},
		{"start_invalid", "start", func(c *Config) { c.Start = "binlog.000001:3" }},
		{"on_large_event_invalid", "on_large_event", func(c *Config) { c.OnLargeEvent = "skip" }},
		{"rate_limit_invalid", "rate_limit.rows_per_second", func(c *Config) { c.RateLimit.RowsPerSecond = -1 }},
		{"heartbeat_interval_invalid", "heartbeat_interval", func(c *Config) { c.HeartbeatInterval = 1 }},
		{"event_bytes_max_invalid", "event_bytes_max", func(c *Config) { c.EventBytesMax = 1 }},
	} {
		conf := good()
		c.change(&conf)
		faults := conf.Validate()
		if len(faults) != 1 || faults[0].Code != c.code || faults[0].Path != c.path || faults[0].Class != fault.Config || faults[0].Hint == "" {
			t.Errorf("want %s at %s: %v", c.code, c.path, faults)
		}
		for _, f := range faults {
			if strings.Contains(f.Error()+f.Hint, "secret%") {
				t.Errorf("the password is printed: %v", f)
			}
		}
	}
	for _, ok := range []string{"earliest", "latest", "binlog.000003:157", "0-1-100", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", ""} {
		conf := good()
		conf.Start = ok
		if faults := conf.Validate(); faults != nil {
			t.Errorf("start %q: %v", ok, faults)
		}
	}
}

// preflight runs Preflight and checks for a fault with a way out.
func preflight(t *testing.T, src *Source, code, hint string) {
	t.Helper()
	err := src.Preflight(t.Context())
	if !fault.HasCode(err, code) {
		t.Errorf("%s was due: %v", code, err)
		return
	}
	all := ""
	for _, e := range flatten(err) {
		all += fault.Of(e).Hint + "\n"
	}
	if !strings.Contains(all, hint) {
		t.Errorf("no hint says %q: %s", hint, all)
	}
}

func flatten(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, e := range j.Unwrap() {
			list = append(list, flatten(e)...)
		}
		return list
	}
	return []error{err}
}

func TestPreflight(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.CreateUser(t, "reader", "good")
		db.CreateUser(t, "poor", "good", "SELECT ON shop.*")
		as := func(user, password string) func(*Config, *cdc.Env) {
			return func(c *Config, _ *cdc.Env) { c.DSN = unit.NewSecret(db.UserDSN(user, password)) }
		}
		if err := open(t, db, as("reader", "good")).Preflight(t.Context()); err != nil {
			t.Errorf("documented grants: %v", err)
		}
		preflight(t, open(t, db, as("reader", "bad")), "access_denied", "check user and password")
		preflight(t, open(t, db, as("poor", "good")), "missing_grant", "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'poor'@'%'")
		db.Exec(t, "SET GLOBAL binlog_format=MIXED")
		preflight(t, open(t, db), "binlog_format_not_row", "SET GLOBAL binlog_format=ROW")
		db.Exec(t, "SET GLOBAL binlog_row_image=MINIMAL")
		var log bytes.Buffer
		_ = open(t, db, func(_ *Config, e *cdc.Env) { e.Log = slog.New(slog.NewTextHandler(&log, nil)) }).Preflight(t.Context())
		if !strings.Contains(log.String(), "binlog_row_image") {
			t.Errorf("no warning: %s", log.String())
		}
		preflight(t, open(t, db, func(c *Config, _ *cdc.Env) { c.Snapshot = snapshotInitial }), "snapshot_row_image", "binlog_row_image=FULL")
		db.Stop()
		preflight(t, open(t, db), "server_unreachable", "check host and port")
	})
}

// TestBeginning: what only a beginning needs is checked then, and before
// anything is written anywhere; a pipeline that has a history goes on without.
func TestBeginning(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		db.Exec(t, insert(1, 2))
		var begin, inside, end string
		events := db.Query(t, "SHOW BINLOG EVENTS IN 'binlog.000001'")
		for i, e := range events {
			if strings.HasPrefix(e[2], "Write_rows") {
				inside = e[1]
			}
			if strings.HasPrefix(e[2], "Gtid") && e[2] != "Gtid_list" || e[2] == "Anonymous_Gtid" {
				begin = e[1]
			}
			if i == len(events)-1 {
				end = e[4]
			}
		}
		place := func(pos string) string { return "binlog.000001:" + pos }
		for start, code := range map[string]string{
			"earliest": "", place("4"): "", place(begin): "", place(end): "",
			place(inside): "start_invalid", place(begin + "1"): "start_invalid", place("999999999"): "start_invalid", place("5"): "start_invalid",
			"binlog.000999:4": "position_purged",
		} {
			src := open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Start = start })
			_, err := src.Initial(t.Context())
			if code == "" && err != nil || code != "" && (!fault.HasCode(err, code) || fault.Of(err).Hint == "") {
				t.Errorf("start %s: %v, want %q", start, err, code)
			}
			if err := src.Preflight(t.Context()); err != nil {
				t.Errorf("start %s is refused to a pipeline that needs it no more: %v", start, err)
			}
		}
		src := open(t, db, with(mode), func(c *Config, _ *cdc.Env) { c.Tables = []string{"shop.*", "shop.nothing"} })
		if _, err := src.Initial(t.Context()); !fault.HasCode(err, "unknown_table") || !strings.Contains(fault.Of(err).Hint, "correct the name") {
			t.Errorf("a table that is not there: %v", err)
		}
		if err := src.Preflight(t.Context()); err != nil {
			t.Errorf("a table that was dropped: %v", err)
		}
	})
}

func TestBinlogOff(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		preflight(t, open(t, db), "binlog_off", "log_bin")
		if _, err := open(t, db).Head(t.Context()); !fault.HasCode(err, "binlog_off") {
			t.Errorf("head: %v", err)
		}
	}, testserver.Args("--skip-log-bin"))
}

// TestRunDenied: the grant is taken away between preflight and run.
func TestRunDenied(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		db.CreateUser(t, "reader", "good", "SELECT, REPLICATION CLIENT ON *.*")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.DSN = unit.NewSecret(db.UserDSN("reader", "good")) })
		start(t, src, initial(t, open(t, db))).fails(t, "missing_grant")
	})
}

func TestPurged(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode))
		from := initial(t, src)
		if mode != modeFile && db.Flavor == testserver.FlavorMariaDB {
			// The beginning of the first log is a place; the next position has GTIDs.
			got, err := cdctest.Read(t, src, from, cdctest.UntilHead(t, src))
			if err != nil {
				t.Fatal(err)
			}
			from.Base = got[0].End
		}
		db.Exec(t, insert(1, 1), "FLUSH BINARY LOGS", insert(2, 1), "FLUSH BINARY LOGS", insert(3, 1), "FLUSH BINARY LOGS")
		for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			db.Exec(t, "PURGE BINARY LOGS TO 'binlog.000003'") // MariaDB keeps what its own recovery may need
			if db.Query(t, "SHOW BINARY LOGS")[0][0] == "binlog.000003" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the server keeps its logs")
			}
		}
		lost := &ledger{}
		for range 2 { // the second time is the same gap
			src = open(t, db, with(mode), func(_ *Config, e *cdc.Env) { e.Gaps = lost })
			start(t, src, from).fails(t, "position_purged")
		}
		to, err := src.Initial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if gaps := lost.list(t); len(gaps) != 1 || gaps[0].Cause != "position_purged" || gaps[0].From != from.Base || gaps[0].To != to ||
			gaps[0].Time.IsZero() || gaps[0].Detail == "" {
			t.Errorf("ledger: %+v", gaps)
		}
		// From the oldest log that is left it works.
		if rows := readAll(t, open(t, db, with(mode))); len(rows) != 1 || !strings.Contains(rows[0].Text, "id=3") {
			t.Errorf("rows %v", texts(rows))
		}
	})
}

func TestSourceBehind(t *testing.T) {
	modes(t, func(t *testing.T, db *testserver.DB, mode string) {
		prepare(t, db)
		src := open(t, db, with(mode))
		head, err := src.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, _ := position.Decode(head)
		switch {
		case p.GTIDs == nil:
			p.Pos += 1000
		case p.Flavor == gtid.MySQL:
			p.GTIDs.Add(mustID(t, gtid.MySQL, db.Value(t, "SELECT @@server_uuid")+":999"))
		default:
			p.GTIDs.Add(mustID(t, gtid.MariaDB, "0-77-999"))
		}
		start(t, src, cdc.Start{Base: p.Encode()}).fails(t, "source_behind")
	})
}

func mustID(t *testing.T, f gtid.Flavor, text string) gtid.ID {
	t.Helper()
	id, err := gtid.ParseID(f, text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestOtherServer: a place in a file means nothing on another server.
func TestOtherServer(t *testing.T) {
	one, other := testserver.MySQL(t, testserver.NoGTID()), testserver.MySQL(t, testserver.NoGTID())
	prepare(t, one)
	start(t, open(t, other), initial(t, open(t, one))).fails(t, "server_changed")
	maria := testserver.MariaDB(t)
	start(t, open(t, maria), initial(t, open(t, one))).fails(t, "server_changed")
}

// TestServerIDInUse: that another reader has the same id ends Run; that the
// network cut a connection does not, although the server may still feed it.
func TestServerIDInUse(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		way := testserver.NewProxy(t, db.Addr())
		same := func(c *Config, e *cdc.Env) { c.ServerID, e.Pipeline = 4711, "same" }
		first := start(t, open(t, db, same, hosts(way.Addr())), initial(t, open(t, db)))
		db.Exec(t, insert(1, 1))
		first.awaitRows(t, 1)
		for i := range 3 {
			way.Cut()
			db.Exec(t, insert(2+i, 1))
			first.awaitRows(t, 2+i)
		}
		start(t, open(t, db, same), initial(t, open(t, db)))
		first.fails(t, "server_id_in_use")
	})
}

func TestStatementFormat(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		prepare(t, db)
		s := start(t, open(t, db), initial(t, open(t, db)))
		db.Exec(t, "CREATE DATABASE elsewhere", "CREATE TABLE elsewhere.other (id INT)")
		db.Exec(t, "SET SESSION binlog_format=STATEMENT", "INSERT INTO elsewhere.other VALUES (1)", "SET SESSION binlog_format=ROW", insert(1, 1))
		s.awaitRows(t, 1) // other databases may do so
		db.Exec(t, "USE shop", "SET SESSION binlog_format=STATEMENT", "UPDATE orders SET qty=2")
		s.fails(t, "statement_format")
	})
}

func TestEventTooLarge(t *testing.T) {
	each(t, func(t *testing.T, db *testserver.DB) {
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, doc LONGBLOB)")
		src := open(t, db, func(c *Config, _ *cdc.Env) { c.EventBytesMax = 2 << 20 })
		s := start(t, src, initial(t, src))
		db.Exec(t, "INSERT INTO shop.orders VALUES (1, REPEAT('x', 1000000))")
		s.awaitRows(t, 1)
		// Of a table that is not followed, it does not matter.
		db.Exec(t, "CREATE TABLE shop.big (id INT PRIMARY KEY, doc LONGBLOB)", "BEGIN", "INSERT INTO shop.orders VALUES (10, 'x')",
			"INSERT INTO shop.big VALUES (1, REPEAT('x', 3000000))", "INSERT INTO shop.orders VALUES (11, 'x')", "COMMIT")
		s.awaitRows(t, 3)
		db.Exec(t, "BEGIN", "INSERT INTO shop.orders VALUES (20, 'x')", "INSERT INTO shop.orders VALUES (2, REPEAT('x', 3000000))",
			"INSERT INTO shop.orders VALUES (21, 'x')", "COMMIT")
		s.fails(t, "event_too_large")

		lost := &ledger{}
		src = open(t, db, func(c *Config, e *cdc.Env) { c.EventBytesMax, c.OnLargeEvent, e.Gaps = 2<<20, "gap", lost })
		for range 2 { // the second time is the same gap
			s = start(t, src, initial(t, src))
			rows := s.awaitRows(t, 5)
			if !strings.Contains(rows[3].Text, "id=20 ") || !strings.Contains(rows[4].Text, "id=21 ") || rows[4].Tx != rows[3].Tx {
				t.Errorf("%v", texts(rows))
			}
			s.stop()
			gaps := lost.list(t)
			if len(gaps) != 1 || gaps[0].Cause != "event_too_large" || gaps[0].Tx != rows[3].Tx || gaps[0].Row != 1 ||
				gaps[0].Tables[0] != "shop.orders" || gaps[0].Bytes < 3000000 {
				t.Errorf("ledger: %+v", gaps)
			}
		}
	})
}

func TestRateLimit(t *testing.T) {
	db := testserver.MySQL(t)
	prepare(t, db)
	for i := range 40 {
		db.Exec(t, insert(i, 1))
	}
	src := open(t, db, func(c *Config, _ *cdc.Env) { c.RateLimit.RowsPerSecond = 10 })
	began := time.Now()
	s := start(t, src, initial(t, src))
	first := s.awaitRows(t, 10) // a burst of one second's worth goes out at once
	if took := time.Since(began); float64(len(first)) > 15+10*took.Seconds() || took > 30*time.Second {
		t.Errorf("%d rows after %v", len(first), took)
	}
	s.awaitRows(t, 30)
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("30 rows took %v at 10 a second", took)
	}
	s.stop()

	src = open(t, db, func(c *Config, _ *cdc.Env) { c.RateLimit.BytesPerSecond = 4 << 10 })
	began = time.Now()
	start(t, src, initial(t, src)).awaitRows(t, 40)
	if took := time.Since(began); took < time.Second {
		t.Errorf("%d bytes took %v at 4 KiB a second", src.Status().BytesRead, took)
	}
}

// store is a cdc.SchemaStore in memory.
type store struct {
	mu   sync.Mutex
	list []kept
}

type kept struct {
	behind sdk.Position
	record []byte
}

func (s *store) Put(behind sdk.Position, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, kept{behind, bytes.Clone(record)})
	return nil
}

func (s *store) Each(f func(sdk.Position, []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.list {
		if err := f(k.behind, k.record); err != nil {
			return err
		}
	}
	return nil
}

// TestMinimalMetadata: what most servers are set to. Names come from the
// catalog, follow ALTER TABLE, and survive a restart from before it.
func TestMinimalMetadata(t *testing.T) {
	for name, server := range map[string]func(testing.TB, ...testserver.Option) *testserver.DB{
		"mysql": testserver.MySQL, "mariadb": testserver.MariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			option := "--binlog-row-metadata=MINIMAL"
			if name == "mariadb" {
				option = "--binlog-row-metadata=NO_LOG"
			}
			db, st := server(t, testserver.Args(option)), &store{}
			keep := func(_ *Config, e *cdc.Env) { e.Schemas = st }
			db.Exec(t, "CREATE DATABASE shop",
				"CREATE TABLE shop.orders (id INT UNSIGNED PRIMARY KEY, kind ENUM('a','b''c'), note VARCHAR(20)) CHARSET utf8mb4")
			s := start(t, open(t, db, keep), initial(t, open(t, db)))
			db.Exec(t, "INSERT INTO shop.orders VALUES (4294967295, 'b''c', _utf8mb4 x'c3bc')")
			s.awaitRows(t, 1)
			middle, _ := s.snapshot()
			db.Exec(t, "ALTER TABLE shop.orders RENAME COLUMN note TO remark", "INSERT INTO shop.orders VALUES (2, 'a', 'y')")
			s.awaitRows(t, 2)
			db.Exec(t, "ALTER TABLE shop.orders ADD qty INT FIRST", "INSERT INTO shop.orders VALUES (7, 3, NULL, NULL)")
			rows := s.awaitRows(t, 3)
			want := []string{`c shop.orders (id=4294967295 kind="b'c" note="ü")`, `c shop.orders (id=2 kind="a" remark="y")`,
				`c shop.orders (qty=7 id=3 kind=NULL remark=NULL)`}
			if d := cmp.Diff(want, texts(rows)); d != "" {
				t.Fatal(d)
			}
			s.stop()

			// The same place gives the same rows again.
			puts := len(st.list)
			again := start(t, open(t, db, keep), initial(t, open(t, db)))
			if d := cmp.Diff(rows, again.awaitRows(t, 3)); d != "" {
				t.Fatal(d)
			}
			again.stop()
			again = start(t, open(t, db, keep), cdc.Start{Base: middle[len(middle)-1].End})
			if d := cmp.Diff(rows[1:], again.awaitRows(t, 2)); d != "" {
				t.Fatal(d)
			}
			if len(st.list) != puts {
				t.Errorf("reading again put %d definitions more", len(st.list)-puts)
			}
		})
	}
}
