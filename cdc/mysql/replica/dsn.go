package replica

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// TLS says how a connection is protected.
type TLS string

// The ways of protecting a connection.
const (
	TLSOff       TLS = "false"
	TLSVerify    TLS = "true"        // encrypted; the server's certificate is verified
	TLSUnchecked TLS = "skip-verify" // encrypted; any certificate will do
	TLSPreferred TLS = "preferred"   // as skip-verify where the server can, else plain
)

// Target is a server and an account.
type Target struct {
	Addr     string // host:port
	User     string
	Password string
	TLS      TLS
	CAFile   string // PEM of the authorities to trust, for TLSVerify; empty for the system's
}

// hostsMax bounds the hosts of a list.
const hostsMax = 16

// Targets reads "mysql://user:pass@a:3306,b:3306/?tls=true&tls_ca=ca.pem": one
// target for each host of the list, in its order, with the same account. The
// port defaults to 3306, tls to preferred. Errors never contain the password.
func Targets(dsn string) ([]Target, error) {
	scheme, rest, ok := strings.Cut(dsn, "://")
	if !ok {
		rest = ""
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	account := strings.LastIndexByte(rest[:end], '@') + 1
	hosts := strings.Split(rest[account:end], ",")
	if len(hosts) > hostsMax {
		return nil, fmt.Errorf("%d hosts; at most %d can be listed", len(hosts), hostsMax)
	}
	list, seen := make([]Target, len(hosts)), map[string]bool{}
	for i, host := range hosts {
		one := scheme + "://" + rest[:account] + strings.TrimSpace(host) + rest[end:]
		if !ok {
			one = dsn
		}
		t, err := ParseDSN(one)
		if err != nil {
			return nil, err
		}
		if seen[t.Addr] {
			return nil, fmt.Errorf("host %s is listed twice", t.Addr)
		}
		list[i], seen[t.Addr] = t, true
	}
	return list, nil
}

// ParseDSN reads a DSN that names one host, as Targets does.
func ParseDSN(dsn string) (Target, error) {
	u, err := url.Parse(dsn)
	if err != nil { // url.Error repeats the text
		return Target{}, fmt.Errorf("not a URL; a special character in user or password must be percent-encoded")
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return Target{}, fmt.Errorf("the scheme must be mysql, as in mysql://user:pass@host:3306")
	}
	if u.Hostname() == "" || u.User.Username() == "" {
		return Target{}, fmt.Errorf("user and host are needed, as in mysql://user:pass@host:3306")
	}
	if strings.Trim(u.Path, "/") != "" {
		return Target{}, fmt.Errorf("no schema belongs behind the host; name tables as db.table")
	}
	t := Target{Addr: u.Host, User: u.User.Username(), TLS: TLSPreferred}
	t.Password, _ = u.User.Password()
	if u.Port() == "" {
		t.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	for key, values := range u.Query() {
		switch value := values[len(values)-1]; key {
		case "tls":
			t.TLS = TLS(value)
		case "tls_ca":
			t.CAFile = value
		default:
			return Target{}, fmt.Errorf("unknown option %q; tls and tls_ca are known", key)
		}
	}
	switch t.TLS {
	case TLSOff, TLSVerify, TLSUnchecked, TLSPreferred:
		return t, nil
	}
	return Target{}, fmt.Errorf("tls=%s: must be true, false, skip-verify or preferred", t.TLS)
}

// tlsConfig returns nil for a plain connection.
func (t Target) tlsConfig() (*tls.Config, error) {
	switch t.TLS {
	case TLSOff:
		return nil, nil
	case TLSVerify:
		host, _, err := net.SplitHostPort(t.Addr)
		if err != nil {
			return nil, err
		}
		c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		if t.CAFile == "" {
			return c, nil
		}
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls_ca %s holds no certificate", t.CAFile)
		}
		return c, nil
	}
	// What the person asked for: encryption without knowing the other side.
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, nil
}
