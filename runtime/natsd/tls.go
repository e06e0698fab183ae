package natsd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// CodeTLS is the code of a fault of certificates or of the handshake.
const CodeTLS = "nats_tls"

// TLS holds certificates as PEM texts. For the embedded server Cert and Key are
// its own, and with CA clients must show a certificate of it. For an external
// one CA is what its certificate is checked against instead of the system's
// authorities, and Cert and Key are shown to it where it asks for them.
type TLS struct {
	CA, Cert string
	Key      unit.Secret
	// ServerName is the name in an external server's certificate, where it is
	// not the one in the URL.
	ServerName string
}

func (t TLS) isZero() bool { return t == TLS{} }

func tlsFault(path, hint, format string, args ...any) error {
	return fault.New(fault.Environment, CodeTLS, path, hint, format, args...)
}

// server returns the embedded server's settings; nil for none.
func (t TLS) server() (*tls.Config, error) {
	const at = "nats.embedded.tls"
	if t.isZero() {
		return nil, nil
	}
	if t.Cert == "" {
		return nil, tlsFault(at, "write cert and key as ${file:/path} of PEM files", "the server has no certificate")
	}
	c, err := t.config(at)
	if err == nil && c.RootCAs != nil {
		c.ClientAuth, c.ClientCAs, c.RootCAs = tls.RequireAndVerifyClientCert, c.RootCAs, nil
	}
	return c, err
}

// client returns the settings for an external server.
func (t TLS) client() (*tls.Config, error) {
	c, err := t.config("nats.tls")
	if err == nil {
		c.ServerName = t.ServerName
	}
	return c, err
}

func (t TLS) config(at string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if (t.Cert == "") != t.Key.IsZero() {
		return nil, tlsFault(at, "write both cert and key, or neither", "a certificate and its key go together")
	}
	if t.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key.Reveal()))
		if err != nil {
			return nil, tlsFault(at, "write cert and key as ${file:/path} of PEM files that belong together", "%w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, tlsFault(at+".ca", "write ca as ${file:/path} of a PEM file", "there is no certificate in it")
		}
	}
	return c, nil
}

const clientCertHint = "the server asks for a client's certificate and does not take this one: write nats.tls.cert and nats.tls.key as its authority signed them"

// handshakeHint says what mends a handshake that failed; ok is false for an
// error that is not of TLS.
func handshakeHint(err error) (hint string, ok bool) {
	var header tls.RecordHeaderError
	var remote *net.OpError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return "write the authority that signed the server's certificate as nats.tls.ca", true
	case errors.As(err, &name):
		return "write the name that is in the server's certificate as nats.tls.server_name, or connect to that name", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the server's certificate, and check both machines' clocks", true
	case errors.As(err, &invalid):
		return "the server's certificate can't be used: make it anew for servers, with its name in it", true
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of the server
		return clientCertHint, true
	case errors.As(err, &header):
		return "what answers there does not speak TLS: check the port", true
	}
	return "", false
}
