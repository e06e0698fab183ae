package config

import (
	"net"
	"reflect"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

func defaultEmbedded() *Embedded {
	return &Embedded{Listen: DefaultNATSListen, Durability: DurabilityInterval}
}

func (l *loader) server(e entry, c *Config) {
	c.Server = &Server{Listen: DefaultListen}
	l.decode(e.node, reflect.ValueOf(c.Server).Elem())
	host, ok := l.listen(e.node.child("listen"), c.Server.Listen)
	if ip := net.ParseIP(host); ok && host != "localhost" && (ip == nil || !ip.IsLoopback()) && c.Server.Token.IsZero() {
		at := e.node.child("listen")
		if l.unknown[e.node.child("token")] {
			return
		}
		l.add(at.line, at.col, CodeBadValue, "set server.token to ${env:...}, or listen on 127.0.0.1",
			"%q can be reached from other machines, and there is no token", c.Server.Listen)
	}
}

// listen checks a host:port and returns its host.
func (l *loader) listen(n *node, addr string) (host string, ok bool) {
	if n == nil || l.unknown[n] || !n.isScalar() {
		return "", false
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		l.add(n.line, n.col, CodeBadValue, `write it as "127.0.0.1:7070"`, "%q is not host:port", addr)
		return "", false
	}
	return host, true
}

// natsKeys is what `nats:` has when it isn't just "embedded".
type natsKeys struct {
	Embedded *Embedded   `yaml:"embedded" doc:"the server inside cdcd"`
	URL      string      `yaml:"url" doc:"address of an external server or cluster, several with commas"`
	Creds    unit.Secret `yaml:"creds" doc:"content of a credentials file: ${file:/path}"`
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
	c.NATS = NATS{Embedded: keys.Embedded, URL: keys.URL, Creds: keys.Creds}
	external, embedded := n.find("url"), n.find("embedded")
	switch {
	case external != nil && embedded != nil:
		l.add(embedded.line, embedded.col, CodeDuplicateKey, "keep one of the two", "the NATS server is either embedded or at a url")
	case embedded != nil:
		l.embedded(embedded.node, keys.Embedded)
		if creds := n.find("creds"); creds != nil {
			l.add(creds.line, creds.col, CodeUnknownKey, "remove it", "the embedded server takes no credentials")
		}
	case external == nil:
		l.need(n, "url", `write "nats: embedded", or {url: nats://host:4222}`)
	case keys.URL == "" && !l.unknown[external.node]:
		l.add(external.node.line, external.node.col, CodeBadValue, "write nats://host:4222", "the url is empty")
	}
}

func (l *loader) embedded(n *node, e *Embedded) {
	e.Chosen = n.find("listen") != nil
	if e.Listen != "" {
		l.listen(n.child("listen"), e.Listen)
	}
	l.oneOf(n.child("durability"), string(e.Durability), string(DurabilityInterval), string(DurabilityFsync))
}

// oneOf checks a value against its choices.
func (l *loader) oneOf(n *node, value string, choices ...string) {
	if n == nil || l.unknown[n] || !n.isScalar() {
		return
	}
	for _, c := range choices {
		if value == c {
			return
		}
	}
	l.add(n.line, n.col, CodeBadValue, didYouMean(value, choices), "%q is not a choice here", value)
}

func (l *loader) tests(e entry, c *Config) {
	var tests []struct {
		Name     string        `yaml:"name"`
		Pipeline string        `yaml:"pipeline"`
		Given    []TestRow     `yaml:"given"`
		Expect   []TestMessage `yaml:"expect"`
	}
	l.decode(e.node, reflect.ValueOf(&tests).Elem())
	for i, t := range tests {
		n := e.node.items[i]
		if n.kind != mapNode {
			continue
		}
		l.need(n, "name", "say what the test shows")
		l.need(n, "pipeline", "name the pipeline whose steps are tested")
		l.need(n, "given", "give at least one row")
		for j, row := range t.Given {
			l.oneOf(n.child("given").child2(j, "op"), row.Op, "insert", "update", "delete")
		}
		c.Tests = append(c.Tests, Test{t.Name, t.Pipeline, t.Given, t.Expect})
	}
}

func (n *node) child2(i int, key string) *node {
	if n == nil || i >= len(n.items) {
		return nil
	}
	return n.items[i].child(key)
}

// testPipelines checks that tests name pipelines that are there.
func (l *loader) testPipelines(n *node, c *Config) {
	var names []string
	for _, p := range c.Pipelines {
		names = append(names, p.Name)
	}
	if tests := n.find("tests"); tests != nil {
		for i := range tests.node.items {
			if at := tests.node.child2(i, "pipeline"); at != nil && at.isScalar() && len(names) > 0 {
				l.oneOf(at, at.text, names...)
			}
		}
	}
}

// Streamed is what a sink's configuration has when it writes a stream: one
// stream belongs to one pipeline.
type Streamed interface {
	// StreamName returns the stream's name.
	StreamName() string
}

// streams refuses one stream in two pipelines: each would break the other's chain.
func (l *loader) streams(root *node, c *Config) {
	owner := map[string]string{}
	for _, p := range c.Pipelines {
		s, ok := p.Sink.Value.(Streamed)
		if !ok || s.StreamName() == "" {
			continue
		}
		first, taken := owner[s.StreamName()]
		if !taken {
			owner[s.StreamName()] = p.Name
			continue
		}
		entry := *root.find("pipelines").node.find(p.Name)
		l.placed(entry, fault.New(fault.Config, CodeDuplicateStream, "sink."+p.Sink.Kind+".stream",
			"give each pipeline a stream of its own", "the stream %q belongs to pipeline %q already", s.StreamName(), first), nil)
	}
}
