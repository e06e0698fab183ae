package examine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/checkup"
)

// encryption checks how the connection is protected.
func (e *examiner) encryption(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	if err != nil {
		return err
	}
	cipher := ""
	if len(rows) > 0 {
		cipher = rows[0][1]
	}
	local := strings.HasPrefix(e.Target.Addr, "127.") || strings.HasPrefix(e.Target.Addr, "[::1]") || strings.HasPrefix(e.Target.Addr, "localhost")
	switch {
	case cipher != "" && e.Target.TLS == replica.TLSVerify:
		e.add(checkup.Ok("tls", "encrypted with %s, the server's certificate is verified", cipher))
	case local:
		e.add(checkup.Ok("tls", "the connection stays on this machine"))
	case cipher != "":
		e.add(checkup.Result{Check: "tls", Level: checkup.Warning, Found: "encrypted with " + cipher + ", the server's certificate is not verified",
			Why: "somebody in between could pose as the server", Fix: []string{"write ?tls=true&tls_ca=ca.pem behind the DSN"}})
	default:
		e.add(checkup.Result{Check: "tls", Level: checkup.Warning, Found: "the connection is not encrypted",
			Why: "rows, and on some servers the password, can be read on the way",
			Fix: []string{"set up certificates on the server (ssl_ca, ssl_cert, ssl_key)", "write ?tls=true&tls_ca=ca.pem behind the DSN"}, Restart: true})
	}
	return nil
}

// plugin checks how the account proves who it is.
func (e *examiner) plugin(ctx context.Context) error {
	text, err := e.conn.Value(ctx, "SHOW CREATE USER CURRENT_USER()")
	if err != nil {
		return err
	}
	name := "mysql_native_password" // MariaDB's default, which it does not print
	for _, word := range []string{"IDENTIFIED WITH ", "IDENTIFIED VIA "} {
		if _, rest, ok := strings.Cut(text, word); ok {
			name = strings.Trim(strings.Fields(rest)[0], "'`;,")
		}
	}
	fix := fmt.Sprintf("ALTER USER %s@'%%' IDENTIFIED WITH caching_sha2_password BY 'a new password';", replica.Quote(e.Target.User))
	e.judge(name != "mysql_native_password" || e.maria, "the account logs in by "+name, checkup.Result{
		Check: "auth_plugin", Level: checkup.Warning, Fix: []string{fix}, SQL: true,
		Why: "it rests on SHA-1, and MySQL 9 does not know it any more"})
	return nil
}

// grants does what reading will do, and names the privilege that is missing.
func (e *examiner) grants(ctx context.Context) error {
	user := replica.Quote(e.Target.User) + "@'%'"
	client := "REPLICATION CLIENT"
	if e.maria {
		client = "BINLOG MONITOR"
	}
	_, err := e.ask(ctx, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS", "SHOW BINLOG STATUS")
	if err != nil && !denied(err) {
		return err
	}
	e.judge(err == nil, "SHOW BINARY LOG STATUS: "+allowed(err), checkup.Result{Check: "log_status_grant", Level: checkup.Failed,
		Why: "the log's end can't be asked for", SQL: true, Fix: []string{fmt.Sprintf("GRANT %s ON *.* TO %s;", client, user)}})
	err = e.conn.Register(ctx, e.ServerID)
	if err != nil && !denied(err) {
		return err
	}
	e.judge(err == nil, "registering as a replica: "+allowed(err), checkup.Result{Check: "replication_grant", Level: checkup.Failed,
		Why: "the log can't be read", SQL: true, Fix: []string{fmt.Sprintf("GRANT REPLICATION SLAVE ON *.* TO %s;", user)}})
	return nil
}

func allowed(err error) string {
	if err != nil {
		return err.Error()
	}
	return "allowed"
}

// serverID checks that no other replica has the pipeline's number: the server
// ends the older of two connections with the same one, so both would fight.
func (e *examiner) serverID(ctx context.Context) error {
	if e.vars["server_id"] == "0" {
		e.add(checkup.Result{Check: "server_id", Level: checkup.Failed, Found: "the server's server_id is 0", Why: "it refuses all replicas, and cdcd reads as one",
			Fix: e.set("server_id", "1"), SQL: true})
		return nil
	}
	own := strconv.FormatUint(uint64(e.ServerID), 10)
	if own == e.vars["server_id"] {
		e.add(checkup.Result{Check: "server_id", Level: checkup.Failed, Found: "server_id " + own + " is the server's own",
			Why: "the server sends nothing to a replica with its own number", Fix: []string{"write another server_id under source, or none"}})
		return nil
	}
	rows, err := e.ask(ctx, "SHOW REPLICAS", "SHOW SLAVE HOSTS")
	switch {
	case denied(err):
		e.add(checkup.Result{Check: "server_id", Level: checkup.Skipped, Found: "other replicas can't be seen", Why: err.Error()})
		return nil
	case err != nil:
		return err
	}
	for _, r := range rows {
		if r[0] == own {
			e.add(checkup.Result{Check: "server_id", Level: checkup.Warning, Found: "a replica with server_id " + own + " is connected",
				Why: "it is this pipeline at work, or another reader with the same number: then they throw each other out",
				Fix: []string{"if the pipeline does not run: write another server_id under source"}})
			return nil
		}
	}
	e.add(checkup.Ok("server_id", "nobody else reads as server_id %s", own))
	return nil
}
