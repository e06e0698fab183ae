package testserver

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// The flavours of server, by the names that go-mysql gives them.
const (
	FlavorMySQL   = mysql.MySQLFlavor
	FlavorMariaDB = mysql.MariaDBFlavor
)

const connectTimeout = 10 * time.Second

// DB is a private MySQL or MariaDB server with row-based binlog. Its account
// root has an empty password over TCP.
type DB struct {
	*Process
	Flavor string // FlavorMySQL or FlavorMariaDB
	port   int
	dir    string
	inst   install
}

// Option changes how a database server is started.
type Option func(*dbOptions)

type dbOptions struct {
	args   []string
	noGTID bool
}

// Args adds server options; they win over the defaults.
func Args(args ...string) Option {
	return func(o *dbOptions) { o.args = append(o.args, args...) }
}

// NoGTID starts MySQL with gtid_mode=OFF. MariaDB always writes its GTIDs.
func NoGTID() Option {
	return func(o *dbOptions) { o.noGTID = true }
}

// MySQL starts a MySQL server that ends with the test.
func MySQL(t testing.TB, opts ...Option) *DB {
	t.Helper()
	notShort(t)
	inst, err := findMySQL()
	if err != nil {
		Missing(t, "MySQL", err)
	}
	return startDB(t, inst, opts)
}

// MariaDB starts a MariaDB server that ends with the test.
func MariaDB(t testing.TB, opts ...Option) *DB {
	t.Helper()
	notShort(t)
	inst, err := findMariaDB()
	if err != nil {
		Missing(t, "MariaDB", err)
	}
	return startDB(t, inst, opts)
}

// Each runs the test once for each flavour, as subtests named by flavour.
func Each(t *testing.T, test func(t *testing.T, db *DB), opts ...Option) {
	t.Helper()
	t.Run(FlavorMySQL, func(t *testing.T) { test(t, MySQL(t, opts...)) })
	t.Run(FlavorMariaDB, func(t *testing.T) { test(t, MariaDB(t, opts...)) })
}

func startDB(t testing.TB, inst install, opts []Option) *DB {
	t.Helper()
	var o dbOptions
	for _, opt := range opts {
		opt(&o)
	}
	template, err := inst.template()
	if err != nil {
		t.Fatalf("initialise %s: %v", inst.flavor, err)
	}
	dir := t.TempDir()
	db := &DB{Flavor: inst.flavor, inst: inst, port: reservePort(t), dir: dir}
	if err := copyTree(db.BinlogDir(), template); err != nil {
		t.Fatalf("prepare %s: %v", inst.flavor, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatalf("prepare %s: %v", inst.flavor, err)
	}
	db.Process = &Process{
		name:    inst.flavor,
		argv:    append(inst.argv, db.args(o)...),
		logPath: filepath.Join(dir, "server.log"),
		ready:   db.ping,
	}
	t.Cleanup(func() { db.cleanup(t) })
	if err := db.Start(); err != nil {
		t.Fatalf("start %s: %v", inst.flavor, err)
	}
	return db
}

// args are the server's options. What is written reaches the kernel, not the
// disk: that survives SIGKILL, which is all that a test can do. Commits are ten
// times faster by it, and starts twice.
func (db *DB) args(o dbOptions) []string {
	args := []string{
		"--datadir=" + db.BinlogDir(), "--tmpdir=" + filepath.Join(db.dir, "tmp"),
		"--pid-file=" + filepath.Join(db.dir, "server.pid"), "--socket=", // a path could be too long for one
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(db.port), "--skip-name-resolve",
		"--server-id=" + strconv.Itoa(db.port),
		"--log-bin=binlog", "--binlog-row-metadata=FULL", "--sync-binlog=0",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M",
		"--performance-schema=OFF", "--secure-file-priv=", "--max-connections=200",
	}
	args = append(args, asRoot()...)
	switch {
	case db.Flavor == FlavorMariaDB:
		args = append(args, "--binlog-format=ROW", "--innodb-log-file-size=8M", "--sync-frm=OFF")
	case o.noGTID:
		args = append(args, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
	default:
		args = append(args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	}
	if db.Flavor == FlavorMySQL {
		args = append(args, "--mysqlx=OFF", "--innodb-redo-log-capacity=64M")
	}
	return append(args, o.args...)
}

// asRoot allows what both servers refuse by default: to be run by root.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// Addr is the server's host:port.
func (db *DB) Addr() string { return localAddr(db.port) }

// Port is the server's TCP port.
func (db *DB) Port() int { return db.port }

// DSN is the address for cdcd's configuration, as root.
func (db *DB) DSN() string { return db.UserDSN("root", "") }

// UserDSN is the address for cdcd's configuration, as another user.
func (db *DB) UserDSN(name, password string) string {
	dsn := url.URL{Scheme: "mysql", User: url.User(name), Host: db.Addr()}
	if password != "" {
		dsn.User = url.UserPassword(name, password)
	}
	return dsn.String()
}

// BinlogDir is where the files binlog.000001 and following are: the data directory.
func (db *DB) BinlogDir() string { return filepath.Join(db.dir, "data") }

// Conn opens a connection as root that is closed with the test.
func (db *DB) Conn(t testing.TB) *client.Conn {
	t.Helper()
	conn, err := db.connect()
	if err != nil {
		t.Fatalf("connect to %s: %v", db.Flavor, err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may be gone, and often is
	return conn
}

// Exec runs statements one after the other, on one connection of its own.
func (db *DB) Exec(t testing.TB, statements ...string) {
	t.Helper()
	if err := db.Try(statements...); err != nil {
		t.Fatalf("%s: %v", db.Flavor, err)
	}
}

// Try is Exec for goroutines, and for statements that may fail.
func (db *DB) Try(statements ...string) error {
	conn, err := db.connect()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	for _, sql := range statements {
		if _, err := conn.Execute(sql); err != nil {
			return fmt.Errorf("%w in: %.200s", err, sql)
		}
	}
	return nil
}

// Query returns a statement's rows as text, on a connection of its own. NULL
// comes back as "NULL"; a test that must tell it from the text uses Conn.
func (db *DB) Query(t testing.TB, sql string) [][]string {
	t.Helper()
	session, err := db.Session()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	rows, err := session.Query(sql)
	if err != nil {
		t.Fatalf("%s: %v", db.Flavor, err)
	}
	return rows
}

// Value returns the only cell of a statement's result.
func (db *DB) Value(t testing.TB, sql string) string {
	t.Helper()
	rows := db.Query(t, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: want one cell from: %.200s\ngot %v", db.Flavor, sql, rows)
	}
	return rows[0][0]
}

// CreateUser creates an account that may connect from anywhere. Without grants
// it gets those that cdcd documents; a grant reads "SELECT ON shop.*".
func (db *DB) CreateUser(t testing.TB, name, password string, grants ...string) {
	t.Helper()
	if len(grants) == 0 {
		grants = []string{"SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.*"}
	}
	account := quote(name) + "@'%'"
	statements := []string{"CREATE USER " + account + " IDENTIFIED BY " + quote(password)}
	for _, grant := range grants {
		statements = append(statements, "GRANT "+grant+" TO "+account)
	}
	db.Exec(t, statements...)
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

func (db *DB) connect() (*client.Conn, error) {
	conn, err := client.ConnectWithTimeout(db.Addr(), "root", "", "", connectTimeout)
	if err != nil {
		return nil, err
	}
	// The collation of go-mysql's handshake is MySQL's own; MariaDB does not
	// know it and would take every text for latin1.
	if _, err := conn.Execute("SET NAMES utf8mb4"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (db *DB) ping() error {
	conn, err := db.connect()
	if err != nil {
		return err
	}
	return conn.Close()
}
