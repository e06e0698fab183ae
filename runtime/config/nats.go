package config

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
)

func defaultEmbedded() *Embedded {
	return &Embedded{Listen: DefaultNATSListen, Durability: DurabilityInterval}
}

// natsKeys is what `nats:` has when it isn't just "embedded".
type natsKeys struct {
	Embedded *Embedded `yaml:"embedded" doc:"the server inside cdcd"`
	External `yaml:",inline"`
}

func (l *loader) nats(e entry, c *Config) {
	n := e.node
	if n.kind == textNode && n.text == "embedded" || n.kind == nullNode {
		return
	}
	if n.kind != mapNode {
		l.add(n.line, n.col, CodeWrongType, `write "nats: embedded", or {url: nats://host:4222}`, "want embedded or keys with values here, not %s", n.kind)
		return
	}
	var keys natsKeys
	if n.find("embedded") != nil {
		keys.Embedded = defaultEmbedded()
	}
	l.decode(n, reflect.ValueOf(&keys).Elem())
	c.NATS = NATS{Embedded: keys.Embedded, External: keys.External}
	external, embedded := n.find("url"), n.find("embedded")
	switch {
	case external != nil && embedded != nil:
		l.add(embedded.line, embedded.col, CodeDuplicateKey, "keep one of the two", "the NATS server is either embedded or at a url")
	case embedded != nil:
		l.embedded(embedded.node, keys.Embedded)
		for _, key := range externalKeys {
			if own := n.find(key); own != nil {
				l.add(own.line, own.col, CodeUnknownKey, "remove it, or write it under embedded where it is a key there", "%s is for an external server", key)
			}
		}
	case external == nil:
		l.need(n, "url", `write "nats: embedded", or {url: nats://host:4222}`)
	default:
		l.external(n, external.node, keys.External)
	}
}

// externalKeys are of an external server alone, url apart.
var externalKeys = []string{"creds", "nkey", "user", "password", "token", "tls"}

func (l *loader) external(n, at *node, x External) {
	if len(x.URL) == 0 && !l.unknown[at] && (at.isScalar() || at.kind == listNode) {
		l.add(at.line, at.col, CodeBadValue, "write nats://host:4222", "the url is empty")
	}
	for _, u := range x.URL {
		parsed, err := url.Parse(u)
		if err == nil && parsed.User != nil || err != nil && strings.Contains(u, "@") { // not printed: a secret may be in it
			l.add(at.line, at.col, CodeBadValue, "write nats.user and nats.password, or nats.token: a url is shown in logs", "a login is no part of the url")
		}
	}
	var logins []string
	for _, key := range []string{"creds", "nkey", "user", "token"} {
		if n.find(key) != nil {
			logins = append(logins, key)
		}
	}
	if len(logins) > 1 {
		second := n.find(logins[1])
		l.add(second.line, second.col, CodeDuplicateKey, "keep one of "+strings.Join(logins, ", "), "there is one way to log in; %s is there already", logins[0])
	}
	l.together(n, "user", "password")
	l.together(n.child("tls"), "cert", "key")
}

// together reports one of two keys without the other.
func (l *loader) together(n *node, a, b string) {
	if n == nil || n.kind != mapNode {
		return
	}
	has, lacks := n.find(a), b
	if has == nil {
		has, lacks = n.find(b), a
	}
	if has != nil && n.find(lacks) == nil {
		l.add(has.line, has.col, CodeMissingKey, "write both, or neither", "%s is there without %s", has.key, lacks)
	}
}

func (l *loader) embedded(n *node, e *Embedded) {
	e.Chosen = n.find("listen") != nil
	l.oneOf(n.child("durability"), string(e.Durability), string(DurabilityInterval), string(DurabilityFsync))
	l.together(n.child("tls"), "cert", "key")
	if at := n.child("tls"); at != nil && at.find("ca") != nil && at.find("cert") == nil {
		l.add(at.line, at.col, CodeMissingKey, "write cert and key of the listener", "ca is there without cert")
	}
	l.users(n.child("users"), e.Users)
	if e.Listen == "" {
		return
	}
	at := n.child("listen")
	host, ok := l.listen(at, e.Listen)
	if ok && !isLoopback(host) && n.find("token") == nil && n.find("users") == nil {
		l.add(at.line, at.col, CodeBadValue, "set nats.embedded.token or nats.embedded.users, or listen on 127.0.0.1",
			"%q can be reached from other machines, and there is neither a token nor a user", e.Listen)
	}
}

// users checks those who may connect to the embedded server.
func (l *loader) users(n *node, users []NATSUser) {
	if n == nil || n.kind != listNode {
		return
	}
	if len(users) == 0 {
		l.add(n.line, n.col, CodeMissingKey, "name a user, or take the key away", "there is no user")
	}
	var names []string
	for i, u := range users {
		at := n.items[i]
		if at.kind != mapNode {
			continue
		}
		l.need(at, "user", "name the user")
		l.need(at, "password", "write ${env:NAME}")
		switch {
		case u.User == "cdcd":
			l.add(at.line, at.col, CodeBadName, "choose another name", "cdcd is the name of the daemon's own connections")
		case u.User != "" && slices.Contains(names, u.User):
			l.add(at.line, at.col, CodeDuplicateKey, "choose another name", "there is a user %q already", u.User)
		case u.Admin && len(u.Subjects) > 0:
			l.add(at.line, at.col, CodeBadValue, "keep one of subjects and admin", "an admin may read everything")
		}
		names = append(names, u.User)
		if p := at.child("password"); p != nil && u.Password.IsZero() && !l.unknown[p] && p.isScalar() {
			l.add(p.line, p.col, CodeBadValue, "write ${env:NAME}", "the password is empty")
		}
	}
}
