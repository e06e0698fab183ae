package natsd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

var shopAccess = Access{Streams: []string{"SHOP"}, Subjects: []string{"cdc.shop.>", "own.>"}}

// shop starts a server with a pipeline's stream that has ten messages.
func shop(t *testing.T, cfg Config) *NATS {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	n := startGuarded(t, cfg)
	js := jetstreamOf(t, inside(t, n))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"cdc.shop.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"orders", "items"} {
		for range 5 {
			if _, err := js.Publish(t.Context(), "cdc.shop.shop."+table, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

func inside(t *testing.T, n *NATS) *nats.Conn {
	t.Helper()
	nc, err := n.Connect(t.Context(), "inside")
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func outside(t *testing.T, n *NATS, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.ClientURL(), append(opts, nats.NoReconnect(), nats.Timeout(20*time.Second), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jetstreamOf(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// harms are what nobody may do to a pipeline's stream.
func harms(nc *nats.Conn) map[string]func(context.Context) error {
	request := func(subject, body string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := nc.RequestWithContext(ctx, subject, []byte(body))
			return err
		}
	}
	return map[string]func(context.Context) error{
		"write":         request("cdc.shop.shop.orders", "from outside"),
		"write control": request("cdc.shop._cdcd", "from outside"),
		"write another": request("cdc.later.a.b", "from outside"),
		"own template":  request("own.shop.orders", "from outside"),
		"delete":        request("$JS.API.STREAM.DELETE.SHOP", ""),
		"purge":         request("$JS.API.STREAM.PURGE.SHOP", ""),
		"update":        request("$JS.API.STREAM.UPDATE.SHOP", `{"name":"SHOP","subjects":["cdc.shop.>"],"max_msgs":1}`),
		"create":        request("$JS.API.STREAM.CREATE.SHOP", `{"name":"SHOP"}`),
		"delete one":    request("$JS.API.STREAM.MSG.DELETE.SHOP", `{"seq":1}`),
		"restore":       request("$JS.API.STREAM.RESTORE.SHOP", `{}`),
		"purge account": request("$JS.API.ACCOUNT.PURGE.$G", ""),
	}
}

// harmless checks that each harm is refused, and the stream is as it was.
func harmless(t *testing.T, n *NATS, nc *nats.Conn) {
	t.Helper()
	for what, do := range harms(nc) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		if err := do(ctx); err == nil {
			t.Errorf("could %s", what)
		}
		cancel()
		if err := nc.FlushTimeout(20 * time.Second); err != nil { // what the server says of it comes first
			t.Errorf("%s: %v", what, err)
		}
		if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: the client hears %v", what, err)
		}
	}
	st, err := jetstreamOf(t, inside(t, n)).Stream(t.Context(), "SHOP")
	if err != nil || st.CachedInfo().State.Msgs != 10 || st.CachedInfo().Config.MaxMsgs > 0 {
		t.Errorf("the stream afterwards: %v", err)
	}
}

// reads counts the messages that a consumer with the filter brings, and
// acknowledges them. What is refused has no answer, so patience ends it.
func reads(t *testing.T, nc *nats.Conn, filter string, patience time.Duration) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := jetstreamOf(t, nc).CreateConsumer(ctx, "SHOP", jetstream.ConsumerConfig{Durable: "reader" + strings.NewReplacer(".", "", ">", "").Replace(filter),
		FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return 0, err
	}
	batch, err := c.FetchNoWait(100)
	if err != nil {
		return 0, err
	}
	got := 0
	for m := range batch.Messages() {
		if err := m.DoubleAck(ctx); err != nil {
			t.Error(err)
		}
		got++
	}
	return got, batch.Error()
}

func wantReads(t *testing.T, nc *nats.Conn, filter string, want int) {
	t.Helper()
	if got, err := reads(t, nc, filter, time.Minute); err != nil || got != want {
		t.Errorf("read %d of %q, want %d: %v", got, filter, want, err)
	}
}

// Who comes in without a login, on loopback, can read, acknowledge, and keep
// buckets of its own; it can do no harm to a pipeline.
func TestGuest(t *testing.T) {
	n := shop(t, Config{Access: shopAccess})
	nc := outside(t, n)
	c, err := net.Dial("tcp", strings.TrimPrefix(n.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// What the server says later, when somebody is in, has it otherwise.
	if first, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(first, "INFO ") || strings.Contains(first, `"auth_required":true`) {
		t.Errorf("the server asks for a login that nobody needs: %s, %v", first, err)
	}
	wantReads(t, nc, "", 10)
	kv, err := jetstreamOf(t, nc).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "marks"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "a", []byte("1")); err != nil {
		t.Error(err)
	}
	harmless(t, n, nc)
	if _, err := jetstreamOf(t, inside(t, n)).Publish(t.Context(), "cdc.shop.shop.orders", nil); err != nil {
		t.Errorf("the daemon itself: %v", err)
	}
	// The name that the daemon's connections have opens nothing.
	harmless2 := outside(t, n, nats.UserInfo(insideUser, "guess"))
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := harms(harmless2)["write"](ctx); err == nil {
		t.Error("the daemon's name lets in")
	}
}

func TestUsers(t *testing.T) {
	a := shopAccess
	a.Users = []User{{Name: "svc", Password: unit.NewSecret("p1")}, {Name: "orders", Password: unit.NewSecret("p2"), Subjects: []string{"cdc.shop.shop.orders"}},
		{Name: "large", Password: unit.NewSecret("p4"), Subjects: []string{"cdc.shop.shop.orders", "$O.SHOP_CLAIMS.>"}},
		{Name: "boss", Password: unit.NewSecret("p3"), Admin: true}}
	n := shop(t, Config{Access: a})
	for what, o := range map[string]nats.Option{"nobody": nats.Name("x"), "a wrong password": nats.UserInfo("svc", "p2"), "a token": nats.Token("p1"),
		"no password": nats.UserInfo("svc", ""), "an empty name": nats.UserInfo("", "")} {
		if nc, err := nats.Connect(n.ClientURL(), o); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				nc.Close()
			}
		}
	}
	svc := outside(t, n, nats.UserInfo("svc", "p1"))
	wantReads(t, svc, "", 10)
	harmless(t, n, svc)

	orders := outside(t, n, nats.UserInfo("orders", "p2"))
	wantReads(t, orders, "cdc.shop.shop.orders", 5)
	for _, filter := range []string{"", "cdc.shop.>", "cdc.shop.shop.items"} {
		if got, err := reads(t, orders, filter, time.Second); err == nil {
			t.Errorf("read %d of %q", got, filter)
		}
	}
	if _, err := jetstreamOf(t, orders).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"}); err == nil {
		t.Error("a reader made a bucket")
	}
	harmless(t, n, orders)

	wantObject(t, n, outside(t, n, nats.UserInfo("large", "p4")), orders)

	boss := outside(t, n, nats.UserInfo("boss", "p3"))
	if err := jetstreamOf(t, boss).DeleteStream(t.Context(), "SHOP"); err != nil {
		t.Errorf("an admin could not: %v", err)
	}
}

// wantObject looks whether may, and not mayNot, can read an object of the store
// that large rows are in.
func wantObject(t *testing.T, n *NATS, may, mayNot *nats.Conn) {
	t.Helper()
	inside, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	store := jetstream.StreamConfig{Name: "OBJ_SHOP_CLAIMS", Subjects: []string{"$O.SHOP_CLAIMS.C.>", "$O.SHOP_CLAIMS.M.>"}, AllowRollup: true}
	if _, err := jetstreamOf(t, inside).CreateStream(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	objects, err := jetstreamOf(t, inside).ObjectStore(t.Context(), "SHOP_CLAIMS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutString(t.Context(), "a/b", "body"); err != nil {
		t.Fatal(err)
	}
	for nc, want := range map[*nats.Conn]string{may: "body", mayNot: ""} {
		objects, err := jetstreamOf(t, nc).ObjectStore(t.Context(), "SHOP_CLAIMS")
		if err != nil {
			t.Fatal(err)
		}
		patience := time.Minute
		if want == "" {
			patience = time.Second // what is refused has no answer
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if got, err := objects.GetString(ctx, "a/b"); got != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := objects.PutString(ctx, "a/b", "mine"); err == nil {
			t.Error("a reader wrote an object")
		}
	}
}

// Who takes longer than a server's usual two seconds to log in is let in all the
// same: on a busy machine that is everybody, the daemon too.
func TestSlowLogin(t *testing.T) {
	a := shopAccess
	a.Users = []User{{Name: "svc", Password: unit.NewSecret("p1")}}
	n := shop(t, Config{Access: a})
	c, err := net.Dial("tcp", strings.TrimPrefix(n.ClientURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(2500 * time.Millisecond)
	if _, err := io.WriteString(c, `CONNECT {"verbose":false,"user":"svc","pass":"p1"}`+"\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(c); ; {
		if !lines.Scan() || strings.HasPrefix(lines.Text(), "-ERR") {
			t.Fatalf("not let in: %s %v", lines.Text(), lines.Err())
		}
		if lines.Text() == "PONG" {
			return
		}
	}
}

func TestToken(t *testing.T) {
	a := shopAccess
	a.Token = unit.NewSecret("s3cret")
	n := shop(t, Config{Access: a})
	if _, err := nats.Connect(n.ClientURL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without the token: %v", err)
	}
	if _, err := nats.Connect(n.ClientURL(), nats.Token("s3cre")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("with a wrong one: %v", err)
	}
	nc := outside(t, n, nats.Token("s3cret"))
	wantReads(t, nc, "", 10)
	harmless(t, n, nc)
}

func TestListenerBeyondLoopbackNeedsALogin(t *testing.T) {
	for listen, ok := range map[string]bool{"127.0.0.1:0": true, "localhost:0": true, "[::1]:0": true, "": true,
		"0.0.0.0:0": false, ":0": false, "10.1.2.3:4222": false, "example.com:4222": false} {
		if err := (Access{}).check(listen); (err == nil) != ok {
			t.Errorf("%q: %v", listen, err)
		}
	}
	_, err := Start(t.Context(), Config{Dir: t.TempDir(), Listen: "0.0.0.0:0"})
	if f := fault.Of(err); f.Class != fault.Config || !strings.Contains(f.Hint, "nats.embedded.token") {
		t.Errorf("%v", err)
	}
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Listen: "0.0.0.0:0", Access: Access{Token: unit.NewSecret("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestListenerWithTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.sign("127.0.0.1", time.Now().Add(time.Hour))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca.pem))
	n := shop(t, Config{Access: shopAccess, TLS: TLS{Cert: cert, Key: key}})
	nc := outside(t, n, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	if _, err := nc.TLSConnectionState(); err != nil {
		t.Error(err)
	}
	wantReads(t, nc, "", 10)
	if _, err := nats.Connect(n.ClientURL(), nats.Timeout(time.Second)); err == nil {
		t.Error("in without knowing the authority")
	}

	n = shop(t, Config{Access: shopAccess, TLS: TLS{Cert: cert, Key: key, CA: ca.pem}})
	if nc, err := nats.Connect(n.ClientURL(), nats.NoReconnect(), nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})); err == nil {
		nc.Close()
		t.Error("in without a certificate")
	}
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	wantReads(t, outside(t, n, nats.Secure(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})), "", 10)
	_, err = Start(t.Context(), Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", TLS: TLS{CA: ca.pem}})
	want(t, "no certificate", err, CodeTLS, "cert and key")
}
