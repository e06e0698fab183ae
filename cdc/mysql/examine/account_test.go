package examine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/cdc/mysql/examine"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// certificates writes an authority and a certificate of a server at 127.0.0.1.
func certificates(t *testing.T) (ca string, args []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(der []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature}
	caKey, serverKey := key(), key()
	ca = write("ca.pem", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)))
	cert := write("cert.pem", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), caKey)))
	private := write("key.pem", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(serverKey)))
	return ca, []string{"--ssl-ca=" + ca, "--ssl-cert=" + cert, "--ssl-key=" + private}
}

// TestEncryption: how a connection is protected, by the DSN's options. The
// address is this machine's in a form that does not look like it.
func TestEncryption(t *testing.T) {
	ca, args := certificates(t)
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		remote := "[::ffff:127.0.0.1]:" + strconv.Itoa(db.Port())
		for _, c := range []struct {
			host, options string
			want          checkup.Level
			say           string
		}{
			{db.Addr(), "tls=false", checkup.OK, "stays on this machine"},
			{db.Addr(), "tls=preferred", checkup.OK, "stays on this machine"},
			{db.Addr(), "tls=true&tls_ca=" + url.QueryEscape(ca), checkup.OK, "certificate is verified"},
			{remote, "tls=false", checkup.Warning, "not encrypted"},
			{remote, "", checkup.Warning, "certificate is not verified"},
			{remote, "tls=preferred", checkup.Warning, "certificate is not verified"},
			{remote, "tls=skip-verify", checkup.Warning, "certificate is not verified"},
			{remote, "tls=true&tls_ca=" + url.QueryEscape(ca), checkup.OK, "certificate is verified"},
		} {
			results := look(t, "mysql://root@"+c.host+"?"+c.options, nil)
			if r := find(t, results, "tls"); r.Level != c.want || !strings.Contains(r.Found, c.say) || (c.want == checkup.OK) != (len(r.Fix) == 0) {
				t.Errorf("%s?%s: %+v", c.host, c.options, r)
			}
		}
		// An authority that did not sign the server's certificate.
		if r := find(t, look(t, "mysql://root@"+remote+"?tls=true", nil), "reachable"); r.Level != checkup.Failed || !strings.Contains(r.Found, "certificate") {
			t.Errorf("a certificate of nobody known: %+v", r)
		}
	}, testserver.Args(args...))
}

// TestLogins: the accounts' ways to log in that servers have.
func TestLogins(t *testing.T) {
	const password = "a long password"
	for _, c := range []struct {
		server   func(testing.TB, ...testserver.Option) *testserver.DB
		plugin   string
		prepare  []string
		identify string
	}{
		{testserver.MySQL, "caching_sha2_password", nil, "IDENTIFIED WITH caching_sha2_password BY '" + password + "'"},
		{testserver.MySQL, "sha256_password", nil, "IDENTIFIED WITH sha256_password BY '" + password + "'"},
		{testserver.MariaDB, "mysql_native_password", nil, "IDENTIFIED BY '" + password + "'"},
		{testserver.MariaDB, "ed25519", []string{"INSTALL SONAME 'auth_ed25519'"}, "IDENTIFIED VIA ed25519 USING PASSWORD('" + password + "')"},
	} {
		t.Run(c.plugin, func(t *testing.T) {
			db := c.server(t)
			db.Exec(t, append(c.prepare, "CREATE USER u@'%' "+c.identify, "GRANT REPLICATION SLAVE ON *.* TO u@'%'")...)
			results := look(t, db.UserDSN("u", password), nil)
			if r := find(t, results, "auth_plugin"); r.Level != checkup.OK || r.Found != "the account logs in by "+c.plugin {
				t.Errorf("%+v", r)
			}
			if r := find(t, results, "replication_grant"); r.Level != checkup.OK {
				t.Errorf("the account can't read the log: %+v", r)
			}
			if r := find(t, look(t, db.UserDSN("u", "wrong"), nil), "reachable"); r.Level != checkup.Failed {
				t.Errorf("a wrong password: %+v", r)
			}
		})
	}
}

// TestServerIDTaken: another replica reads with the pipeline's number.
func TestServerIDTaken(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		const id = 4242
		as := func(r *examine.Request) { r.ServerID = id }
		if r := find(t, look(t, db.DSN(), as), "server_id"); r.Level != checkup.OK {
			t.Errorf("alone: %+v", r)
		}
		target, err := replica.ParseDSN(db.DSN())
		if err != nil {
			t.Fatal(err)
		}
		other, err := replica.Connect(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := other.Register(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		r := find(t, look(t, db.DSN(), as), "server_id")
		if r.Level != checkup.Warning || !strings.Contains(r.Found, "server_id 4242 is connected") || len(r.Fix) == 0 {
			t.Errorf("with another: %+v", r)
		}
		if r := find(t, look(t, db.DSN(), nil), "server_id"); r.Level != checkup.OK {
			t.Errorf("with another of another number: %+v", r)
		}
	})
}
