package testserver_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDatabaseSurvivesKill(t *testing.T) {
	begin := time.Now()
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		t.Logf("started in %v", time.Since(begin))
		db.Exec(t, "CREATE DATABASE shop",
			"CREATE TABLE shop.item (id INT PRIMARY KEY, name VARCHAR(20))",
			"INSERT INTO shop.item VALUES (1, 'first'), (2, NULL)")
		db.Kill()
		if db.PID() != 0 {
			t.Error("a killed server still has a process id")
		}
		if err := db.Try("SELECT 1"); err == nil {
			t.Fatal("a killed server answered")
		}
		begin = time.Now()
		db.Restart(t)
		t.Logf("recovered in %v", time.Since(begin))
		rows := db.Query(t, "SELECT id, name FROM shop.item ORDER BY id")
		if len(rows) != 2 || rows[0][1] != "first" || rows[1][1] != "NULL" {
			t.Fatalf("rows after the restart: %v", rows)
		}
		log, err := os.ReadFile(filepath.Join(db.BinlogDir(), "binlog.000001"))
		if err != nil || !bytes.Contains(log, []byte("first")) {
			t.Fatalf("the row is not in the binlog (%v)", err)
		}
		begin = time.Now()
		db.Restart(t) // this time in order
		t.Logf("stopped and started in %v", time.Since(begin))
		begin = time.Now()
	})
}

func TestDatabaseSettings(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		for variable, want := range map[string]string{
			"binlog_format":       "ROW",
			"binlog_row_metadata": "FULL",
			"binlog_row_image":    "MINIMAL",
			"log_bin":             "1",
		} {
			if got := db.Value(t, "SELECT @@global."+variable); got != want {
				t.Errorf("%s = %s, want %s", variable, got, want)
			}
		}
	}, testserver.Args("--binlog-row-image=MINIMAL"))
}

func TestMySQLGTIDMode(t *testing.T) {
	on, off := testserver.MySQL(t), testserver.MySQL(t, testserver.NoGTID())
	if got := on.Value(t, "SELECT @@global.gtid_mode"); got != "ON" {
		t.Errorf("default gtid_mode = %s", got)
	}
	if got := off.Value(t, "SELECT @@global.gtid_mode"); got != "OFF" {
		t.Errorf("NoGTID: gtid_mode = %s", got)
	}
	for _, variable := range []string{"server_id", "server_uuid", "port"} {
		if a, b := on.Value(t, "SELECT @@"+variable), off.Value(t, "SELECT @@"+variable); a == b {
			t.Errorf("two servers have %s = %s", variable, a)
		}
	}
	if got := on.Value(t, "SELECT @@global.gtid_executed"); got != "" {
		t.Errorf("a fresh server has executed %s", got)
	}
}

func TestCreateUser(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		db.CreateUser(t, "cdc", "it's\\secret")
		grants := db.Query(t, "SHOW GRANTS FOR 'cdc'@'%'")
		if len(grants) == 0 {
			t.Fatal("the account has no grants")
		}
		want := "mysql://cdc:it%27s%5Csecret@" + db.Addr()
		if got := db.UserDSN("cdc", "it's\\secret"); got != want {
			t.Errorf("UserDSN = %s, want %s", got, want)
		}
		if got, want := db.DSN(), "mysql://root@"+db.Addr(); got != want {
			t.Errorf("DSN = %s, want %s", got, want)
		}
	})
}

func TestPause(t *testing.T) {
	db := testserver.MariaDB(t)
	conn := db.Conn(t)
	db.Pause()
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(); err == nil {
		t.Fatal("a paused server answered")
	}
	db.Resume()
	if got := db.Value(t, "SELECT 1"); got != "1" {
		t.Fatalf("after Resume: %s", got)
	}
}

// TestServersDieWithTheTest kills a test binary that has servers: nothing of
// them may stay behind.
func TestServersDieWithTheTest(t *testing.T) {
	const childEnv = "CDCD_TESTSERVER_CHILD"
	if os.Getenv(childEnv) != "" {
		fmt.Println(testserver.MariaDB(t).Addr(), testserver.NATS(t).Addr())
		select {}
	}
	testserver.MariaDB(t).Stop() // skips here when the child could only skip
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	// What it leaves behind goes with this test's own directory.
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var addrs [2]string
	_, err = fmt.Fscan(out, &addrs[0], &addrs[1])
	_ = child.Process.Kill()
	_ = child.Wait()
	if err != nil {
		t.Fatalf("read the servers' addresses: %v", err)
	}
	for _, addr := range addrs {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				break
			}
			conn.Close()
			if time.Now().After(deadline) {
				t.Fatalf("the server at %s outlived its test", addr)
			}
		}
	}
}

func TestNATSSurvivesKill(t *testing.T) {
	begin := time.Now()
	server := testserver.NATS(t, testserver.JetStreamConfig("sync_interval: always"))
	t.Logf("started in %v", time.Since(begin))
	publish(t, server.Conn(t, nats.NoReconnect()), 1)
	server.Kill()
	begin = time.Now()
	server.Restart(t)
	t.Logf("recovered in %v", time.Since(begin))
	if got := lastMessage(t, server.Conn(t)); got != "kept" {
		t.Fatalf("last message after the restart: %q", got)
	}
	server.Pause()
	paused, err := nats.Connect(server.URL(), nats.Timeout(300*time.Millisecond))
	if err == nil {
		paused.Close()
		t.Fatal("a paused server answered")
	}
	server.Resume()
	server.Conn(t)
}

func TestNATSClusterSurvivesLeaderKill(t *testing.T) {
	begin := time.Now()
	servers := testserver.NATSCluster(t, 3)
	t.Logf("three servers ready in %v", time.Since(begin))
	publish(t, servers[0].Conn(t), 3)
	servers[0].Kill()
	if got := lastMessage(t, servers[1].Conn(t)); got != "kept" {
		t.Fatalf("last message without one server: %q", got)
	}
	servers[0].Restart(t)
	if got := lastMessage(t, servers[0].Conn(t)); got != "kept" {
		t.Fatalf("last message from the restarted server: %q", got)
	}
}

func publish(t *testing.T, conn *nats.Conn, replicas int) {
	t.Helper()
	ask(t, conn, "make a stream", func(js nats.JetStreamContext) error {
		_, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: replicas})
		return err
	})
	ask(t, conn, "publish", func(js nats.JetStreamContext) error {
		_, err := js.Publish("s", []byte("kept"))
		return err
	})
}

func lastMessage(t *testing.T, conn *nats.Conn) (text string) {
	t.Helper()
	ask(t, conn, "read the last message", func(js nats.JetStreamContext) error {
		msg, err := js.GetLastMsg("S", "s")
		if err == nil {
			text = string(msg.Data)
		}
		return err
	})
	return text
}

// ask asks until there is a leader who answers: a cluster may be choosing one,
// also when it was well a moment ago.
func ask(t *testing.T, conn *nats.Conn, what string, f func(nats.JetStreamContext) error) {
	t.Helper()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := f(js)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
