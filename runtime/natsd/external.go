package natsd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// CodeRefused is the code of a fault of credentials: the server answers, and
// doesn't let this client in.
const CodeRefused = "nats_refused"

// Login is how a client shows who it is to an external server: one of the four,
// or none.
type Login struct {
	Creds    unit.Secret // content of a credentials file
	NKey     unit.Secret // seed of a user's key: "SU..."
	User     string
	Password unit.Secret
	Token    unit.Secret
}

// external returns the options for connecting to an external server.
func (c *Config) external() ([]nats.Option, error) {
	var opts []nats.Option
	switch l := c.Login; {
	case !l.Creds.IsZero():
		if !strings.Contains(l.Creds.Reveal(), "-----BEGIN NATS USER JWT-----") || !strings.Contains(l.Creds.Reveal(), "SEED-----") {
			return nil, loginFault("nats.creds", "write creds as ${file:/path} of what nsc generate creds made", errors.New("it is not a credentials file"))
		}
		if at := credsExpiry(l.Creds.Reveal()); !at.IsZero() && time.Now().After(at) {
			return nil, fault.New(fault.Environment, CodeRefused, "nats.creds", expiredHint, "the credentials expired at %s", at.UTC().Format(time.RFC3339))
		}
		opts = append(opts, nats.UserCredentialBytes([]byte(l.Creds.Reveal())))
	case !l.NKey.IsZero():
		key, err := parseSeed(l.NKey.Reveal())
		if err != nil {
			return nil, loginFault("nats.nkey", "write nkey as ${file:/path} of a user's seed, as nk -gen user makes it", err)
		}
		opts = append(opts, nats.Nkey(key.public(), key.sign))
	case l.User != "":
		opts = append(opts, nats.UserInfo(l.User, l.Password.Reveal()))
	case !l.Token.IsZero():
		opts = append(opts, nats.Token(l.Token.Reveal()))
	}
	if !c.TLS.isZero() {
		t, err := c.TLS.client()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(t))
	}
	return opts, nil
}

const expiredHint = "make new credentials, write them to where nats.creds is read from, and restart cdcd"

// credsExpiry reads when the JWT in a credentials file ends; zero for never,
// and for what can't be read. The server itself says no more than no.
func credsExpiry(creds string) time.Time {
	_, jwt, _ := strings.Cut(creds, "-----BEGIN NATS USER JWT-----")
	jwt, _, _ = strings.Cut(strings.TrimSpace(jwt), "\n")
	parts := strings.Split(strings.TrimSpace(jwt), ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}

func loginFault(path, hint string, err error) error {
	return fault.New(fault.Environment, CodeRefused, path, hint, "%w", err)
}

// place is the URL for people: without what a secret may be in.
func (c *Config) place() string {
	if c.URL == "" {
		return "embedded NATS"
	}
	all := strings.Split(c.URL, ",")
	for i, s := range all {
		all[i] = strings.TrimSpace(s)
		if at := strings.LastIndexByte(all[i], '@'); at >= 0 {
			scheme, _, found := strings.Cut(all[i], "://")
			if !found {
				scheme = "nats"
			}
			all[i] = scheme + "://" + all[i][at+1:]
		}
	}
	return strings.Join(all, ",")
}

// connectFault says why there is no connection, and what mends it.
func (c *Config) connectFault(err error) error {
	place := c.place()
	if u, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
		err = u.Err
	}
	if hint, ok := handshakeHint(err); ok {
		return fault.New(fault.Environment, CodeTLS, place, hint, "connect: %w", err)
	}
	env := func(code, hint string) error {
		return fault.New(fault.Environment, code, place, hint, "connect: %w", err)
	}
	switch text := strings.ToLower(err.Error()); {
	case errors.Is(err, nats.ErrSecureConnWanted):
		return env(CodeTLS, "take nats.tls away, or turn TLS on in the server")
	case errors.Is(err, nats.ErrTLS):
		return env(CodeTLS, clientCertHint)
	case errors.Is(err, nats.ErrSecureConnRequired):
		return env(CodeTLS, "write the authority that signed the server's certificate as nats.tls.ca")
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired), strings.Contains(text, "expired"):
		return env(CodeRefused, expiredHint)
	case errors.Is(err, nats.ErrAuthRevoked):
		return env(CodeRefused, "the user was revoked: ask the server's operator for other credentials")
	case errors.Is(err, nats.ErrAuthorization), strings.Contains(text, "authorization violation"), strings.Contains(text, "nkeys not supported"):
		return env(CodeRefused, "check "+c.loginKey()+": the server answers, and does not let this client in")
	}
	return env(CodeUnreachable, "check that nats.url is right, that the server runs, and that nothing between keeps connections off")
}

// anonymous reports whether the client shows in no way who it is.
func (c *Config) anonymous() bool {
	return c.Login == Login{} && c.TLS.Cert == "" && !strings.Contains(c.URL, "@")
}

// loginKey names the key of the configuration that the server did not like.
func (c *Config) loginKey() string {
	switch l := c.Login; {
	case !l.Creds.IsZero():
		return "nats.creds"
	case !l.NKey.IsZero():
		return "nats.nkey"
	case l.User != "":
		return "nats.user and nats.password"
	case !l.Token.IsZero():
		return "nats.token"
	}
	return "who may connect, and set nats.creds, nats.nkey, nats.user or nats.token"
}
