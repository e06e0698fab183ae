package runtime_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// A broker whose user may not publish one of the tables: the pipeline says which
// right is missing and tries again, not hastily, and goes on once it is granted.
func TestDenied(t *testing.T) {
	user := func(publish string) testserver.NATSOption {
		return testserver.NATSConfig(fmt.Sprintf(`authorization { users: [{user: root, password: p}, {user: cdcd, password: p, permissions: {
			publish: ["$JS.API.>", %s], subscribe: ["_INBOX.>"]}}] }`, publish))
	}
	db, ns := testserver.MariaDB(t), testserver.NATS(t, user(`"cdc.shop._cdcd"`))
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	o := options(t, parse(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.orders]}}
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s}
nats: {url: %q, user: cdcd, password: p}
`, db.DSN(), t.TempDir(), ns.URL())))
	var log lockedLog
	o.Log, o.Stay = slog.New(slog.NewTextHandler(&log, nil)), true
	daemon, _ := started(t, o)
	await := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited for %s in vain: %+v", what, daemon.Status())
			}
		}
	}
	await("the pipeline to run", func() bool { return daemon.Status()[0].State == "streaming" })
	db.Exec(t, "INSERT INTO shop.orders VALUES (1), (2), (3)")
	denied := func() bool {
		s := daemon.Status()[0]
		return s.State == "retrying" && strings.Contains(s.Reason, "publish to cdc.shop.shop.orders") && s.Code == sink.CodeDenied &&
			log.has(`$JS.API.STREAM.MSG.GET.SHOP`) && log.has(`cdcd_dlq.shop.>`)
	}
	await("the missing right to be named", denied)
	time.Sleep(5 * time.Second)
	await("it to be named still", denied)
	if n := daemon.Status()[0].Restarts; n > 4 {
		t.Errorf("tried again %d times in 5 s", n)
	}
	await("it to be tried again", func() bool { return daemon.Status()[0].Restarts >= 2 })
	ns.Reload(t, user(`"cdc.shop.>"`))
	root := ns.Conn(t, nats.UserInfo("root", "p"))
	await("three rows", func() bool { return len(readFrom(t.Context(), t, root)) == 3 })
}
