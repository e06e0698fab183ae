package natsd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// try starts, uses and closes a connection to an external server.
func try(t *testing.T, cfg Config) error {
	t.Helper()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		return err
	}
	return n.Close(context.Background())
}

func want(t *testing.T, what string, err error, code, hint string, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: got in", what)
		return
	}
	f := fault.Of(err)
	if f.Code != code || !strings.Contains(f.Hint, hint) {
		t.Errorf("%s: %v, hint %q; want %s with %q", what, err, f.Hint, code, hint)
	}
	for _, s := range secrets {
		if text := fmt.Sprintf("%v %v %+v", err, f.Hint, f); strings.Contains(text, s) {
			t.Errorf("%s: prints a secret: %s", what, text)
		}
	}
}

func TestExternalPassword(t *testing.T) {
	s := testserver.NATS(t, testserver.NATSConfig("authorization { user: cdcd, password: s3cret }"))
	login := func(user, password string) Config {
		return Config{URL: s.URL(), Login: Login{User: user, Password: unit.NewSecret(password)}}
	}
	if err := try(t, login("cdcd", "s3cret")); err != nil {
		t.Error(err)
	}
	want(t, "wrong password", try(t, login("cdcd", "wr0ng")), CodeRefused, "nats.user and nats.password", "wr0ng")
	want(t, "no login", try(t, Config{URL: s.URL()}), CodeRefused, "nats.creds")
	within := strings.Replace(s.URL(), "://", "://cdcd:wr0ng@", 1)
	want(t, "a password in the URL", try(t, Config{URL: within}), CodeRefused, "", "wr0ng")
	want(t, "a broken URL with a password", try(t, Config{URL: "nats://cdcd:wr0ng@127.0.0.1:x"}), CodeUnreachable, "", "wr0ng")
}

func TestExternalToken(t *testing.T) {
	s := testserver.NATS(t, testserver.NATSConfig("authorization { token: s3cret }"))
	if err := try(t, Config{URL: s.URL(), Login: Login{Token: unit.NewSecret("s3cret")}}); err != nil {
		t.Error(err)
	}
	want(t, "wrong token", try(t, Config{URL: s.URL(), Login: Login{Token: unit.NewSecret("wr0ng")}}), CodeRefused, "nats.token", "wr0ng")
}

func TestExternalNKey(t *testing.T) {
	good, other := newTestKey(t, userPrefix), newTestKey(t, userPrefix)
	s := testserver.NATS(t, testserver.NATSConfig("authorization { users: [{nkey: "+good.public()+"}] }"))
	login := func(seed string) Config { return Config{URL: s.URL(), Login: Login{NKey: unit.NewSecret(seed)}} }
	if err := try(t, login(good.seed()+"\n")); err != nil {
		t.Error(err)
	}
	want(t, "unknown key", try(t, login(other.seed())), CodeRefused, "nats.nkey", other.seed())
	broken := good.seed()[:20] + "A" + good.seed()[21:]
	if good.seed()[20] == 'A' {
		broken = good.seed()[:20] + "B" + good.seed()[21:]
	}
	account := newTestKey(t, 0)
	for what, seed := range map[string]string{"a public key": good.public(), "a mistyped seed": broken, "an account's seed": account.seed(), "nonsense": "hello"} {
		want(t, what, try(t, login(seed)), CodeRefused, "nk -gen user", seed)
	}
}

// A server in operator mode, with accounts and users as JWTs.
func TestExternalCreds(t *testing.T) {
	operator, account, user := newTestKey(t, 14<<3), newTestKey(t, 0), newTestKey(t, userPrefix)
	all := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
		"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
	system := newTestKey(t, 0)
	s := testserver.NATS(t, testserver.NATSConfig(
		"system_account: "+system.public(),
		"operator: "+operator.token(t, operator.public(), time.Time{}, map[string]any{"type": "operator", "version": 2}),
		"resolver: MEMORY",
		"resolver_preload { "+account.public()+": "+operator.token(t, account.public(), time.Time{},
			map[string]any{"type": "account", "version": 2, "limits": all})+", "+
			system.public()+": "+operator.token(t, system.public(), time.Time{}, map[string]any{"type": "account", "version": 2,
			"limits": map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1}})+" }"))
	creds := func(signer testKey, expires time.Time) Config {
		jwt := signer.token(t, user.public(), expires, map[string]any{"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
		return Config{URL: s.URL(), Login: Login{Creds: unit.NewSecret("-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------\n\n" +
			"-----BEGIN USER NKEY SEED-----\n" + user.seed() + "\n------END USER NKEY SEED------\n")}}
	}
	if err := try(t, creds(account, time.Time{})); err != nil {
		t.Error(err)
	}
	want(t, "expired", try(t, creds(account, time.Now().Add(-time.Hour))), CodeRefused, "new credentials", user.seed())
	want(t, "of another account", try(t, creds(newTestKey(t, 0), time.Time{})), CodeRefused, "nats.creds", user.seed())
	want(t, "no credentials file", try(t, Config{URL: s.URL(), Login: Login{Creds: unit.NewSecret(user.seed())}}), CodeRefused, "nsc", user.seed())
}

func TestExternalTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	cert, key := ca.sign("127.0.0.1", time.Now().Add(time.Hour))
	tls := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %%v }", file(t, "cert.pem", cert), file(t, "key.pem", key.Reveal()), file(t, "ca.pem", ca.pem))
	s := testserver.NATS(t, testserver.NATSConfig(fmt.Sprintf(tls, false)))
	plain := testserver.NATS(t)
	if err := try(t, Config{URL: s.URL(), TLS: TLS{CA: ca.pem}}); err != nil {
		t.Error(err)
	}
	want(t, "no authority", try(t, Config{URL: s.URL()}), CodeTLS, "nats.tls.ca")
	want(t, "wrong authority", try(t, Config{URL: s.URL(), TLS: TLS{CA: other.pem}}), CodeTLS, "nats.tls.ca")
	want(t, "wrong name", try(t, Config{URL: s.URL(), TLS: TLS{CA: ca.pem, ServerName: "nats.example.com"}}), CodeTLS, "server_name")
	want(t, "a server without TLS", try(t, Config{URL: plain.URL(), TLS: TLS{CA: ca.pem}}), CodeTLS, "take nats.tls away")
	want(t, "no certificate", try(t, Config{URL: s.URL(), TLS: TLS{CA: "hello"}}), CodeTLS, "PEM")
	want(t, "half a pair", try(t, Config{URL: s.URL(), TLS: TLS{Cert: cert}}), CodeTLS, "both")
	_, stranger := ca.sign("127.0.0.1", time.Now().Add(time.Hour))
	want(t, "another's key", try(t, Config{URL: s.URL(), TLS: TLS{Cert: cert, Key: stranger}}), CodeTLS, "belong together", stranger.Reveal())
	results := Examine(t.Context(), Config{URL: s.URL(), TLS: TLS{CA: ca.pem}})
	if level(results, "nats_tls") != "ok" || checkup.Worst(results) > checkup.Warning {
		t.Errorf("%+v", results)
	}

	mutual := testserver.NATS(t, testserver.NATSConfig(fmt.Sprintf(tls, true)))
	want(t, "no client certificate", try(t, Config{URL: mutual.URL(), TLS: TLS{CA: ca.pem}}), CodeTLS, "nats.tls.cert")
	mine, mineKey := ca.sign("cdcd", time.Now().Add(time.Hour))
	if err := try(t, Config{URL: mutual.URL(), TLS: TLS{CA: ca.pem, Cert: mine, Key: mineKey}}); err != nil {
		t.Error(err)
	}
	theirs, theirKey := other.sign("cdcd", time.Now().Add(time.Hour))
	want(t, "another authority's client", try(t, Config{URL: mutual.URL(), TLS: TLS{CA: ca.pem, Cert: theirs, Key: theirKey}}), CodeTLS, "nats.tls.cert", theirKey.Reveal())
}

func TestExternalTLSNames(t *testing.T) {
	ca := newAuthority(t)
	start := func(name string, end time.Time) *testserver.NATSServer {
		cert, key := ca.sign(name, end)
		return testserver.NATS(t, testserver.NATSConfig(fmt.Sprintf("tls { cert_file: %q, key_file: %q }", file(t, "cert.pem", cert), file(t, "key.pem", key.Reveal()))))
	}
	named := start("nats.example.com", time.Now().Add(time.Hour))
	want(t, "another name", try(t, Config{URL: named.URL(), TLS: TLS{CA: ca.pem}}), CodeTLS, "server_name")
	if err := try(t, Config{URL: named.URL(), TLS: TLS{CA: ca.pem, ServerName: "nats.example.com"}}); err != nil {
		t.Error(err)
	}
	old := start("127.0.0.1", time.Now().Add(-time.Hour))
	want(t, "expired", try(t, Config{URL: old.URL(), TLS: TLS{CA: ca.pem}}), CodeTLS, "renew")
}

// Of several servers one that answers is enough, also for those who come later.
func TestExternalSeveralURLs(t *testing.T) {
	dead := fmt.Sprintf("nats://127.0.0.1:%d", testserver.Port(t))
	servers := testserver.NATSCluster(t, 3)
	n, err := Start(t.Context(), Config{URL: dead + ", " + servers[0].URL() + "," + servers[1].URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	connected := nc.ConnectedUrl() // another one, as soon as that is killed
	for _, server := range servers {
		if server.URL() == connected {
			server.Kill()
		}
	}
	for deadline := time.Now().Add(time.Minute); nc.FlushTimeout(5*time.Second) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not go to another server: %v, %v, of %v", nc.Status(), nc.LastError(), nc.Servers())
		}
	}
	err = try(t, Config{URL: dead + "," + dead})
	want(t, "none answers", err, CodeUnreachable, "nats.url")
}

// A login that the server refuses for a while, and takes again, ends nothing:
// the connection says why it is gone, and comes back.
func TestExternalRefusedForAWhile(t *testing.T) {
	s := testserver.NATS(t, testserver.NATSConfig("authorization { user: cdcd, password: s3cret }"))
	log := &lines{}
	n, err := Start(t.Context(), Config{URL: s.URL(), Login: Login{User: "cdcd", Password: unit.NewSecret("s3cret")},
		Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Trouble(nc); err != nil {
		t.Errorf("while all is well: %v", err)
	}
	password := func(from, to string) {
		t.Helper()
		s.Stop()
		path := filepath.Join(filepath.Dir(s.StoreDir()), "nats.conf")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), "password: "+from, "password: "+to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	password("s3cret", "another")
	// After the second attempt the client would give up. What was said of the first
	// is then in the log.
	attempts := func() int { return strings.Count(s.LogTail(1000), "authentication error") }
	var trouble error // in the middle of an attempt there is none
	for deadline := time.Now().Add(time.Minute); trouble == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("says nothing, after %d attempts", attempts())
		}
		if attempts() >= 3 {
			trouble = n.Trouble(nc)
		}
	}
	want(t, "refused", trouble, CodeRefused, "nats.password", "s3cret")
	if f := fault.Of(trouble); f.Class != fault.Retryable {
		t.Errorf("class %v", f.Class)
	}
	if said := strings.Count(log.String(), CodeRefused); said != 1 {
		t.Errorf("said %d times:\n%s", said, log)
	}
	password("another", "s3cret")
	for deadline := time.Now().Add(time.Minute); nc.FlushTimeout(time.Second) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not come back")
		}
	}
	if err := n.Trouble(nc); err != nil {
		t.Errorf("back again: %v", err)
	}
}

// A user that may not ask, or hear the answer, is told so at once.
func TestExternalDenied(t *testing.T) {
	for want, have := range map[string]string{
		"publish to $JS.API.INFO": `{publish: ["cdc.>"]}`,
		"subscribe to _INBOX.":    `{subscribe: ["cdc.>"]}`,
	} {
		s := testserver.NATS(t, testserver.NATSConfig("authorization { users: [{user: cdcd, password: p, permissions: "+have+"}] }"))
		began := time.Now()
		f := fault.Of(try(t, Config{URL: s.URL(), Login: Login{User: "cdcd", Password: unit.NewSecret("p")}}))
		if f.Code != sink.CodeDenied || f.Class != fault.Retryable || !strings.Contains(f.Error(), want) || !strings.Contains(f.Hint, `"$JS.API.INFO"`) {
			t.Errorf("%v, hint %s; want %s", f, f.Hint, want)
		}
		if took := time.Since(began); took > 9*time.Second { // what is not told is overdue much later
			t.Errorf("it took %v", took)
		}
	}
}
