package config

import (
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

func (l *loader) server(e entry, c *Config) {
	c.Server = &Server{Listen: DefaultListen}
	l.decode(e.node, reflect.ValueOf(c.Server).Elem())
	host, ok := l.listen(e.node.child("listen"), c.Server.Listen)
	if ok && !isLoopback(host) && c.Server.Token.IsZero() {
		at := e.node.child("listen")
		if l.unknown[e.node.child("token")] {
			return
		}
		l.add(at.line, at.col, CodeBadValue, "set server.token to ${env:...}, or listen on 127.0.0.1",
			"%q can be reached from other machines, and there is no token", c.Server.Listen)
	}
}

// isLoopback reports whether only this machine reaches a host.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
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

// Least values of `memory:`. A full batch and what is made of it need about half
// of the smaller one.
const (
	inFlightLeast    = 8 << 20
	inFlightMinLeast = 512 << 10
)

func (l *loader) memory(e entry, c *Config) {
	m := &c.Memory
	l.decode(e.node, reflect.ValueOf(m).Elem())
	least := func(key string, value, least unit.Bytes) {
		if n := e.node.child(key); n != nil && !l.unknown[n] && n.isScalar() && value < least {
			l.add(n.line, n.col, CodeBadValue, "write "+least.String()+" or more", "%s is too little to work with", value)
		}
	}
	least("in_flight", m.InFlight, inFlightLeast)
	least("in_flight_min", m.InFlightMin, inFlightMinLeast)
	if n := e.node.child("in_flight_min"); n != nil && !l.unknown[n] && m.InFlightMin > m.InFlight {
		l.add(n.line, n.col, CodeBadValue, "write less than in_flight, which is "+m.InFlight.String(), "one pipeline's minimum is more than all pipelines may hold")
	}
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

// Shared is what a Streamed has that may leave its stream to others, too.
type Shared interface {
	// SharedSubjects returns the subjects, as a pattern, that the pipeline writes
	// to in a stream that it may share; empty for a stream of its own.
	SharedSubjects(pipeline string) string
}

// mayShare reports whether two pipelines may write to one stream.
func mayShare(a, b Pipeline) bool {
	s, ok := a.Sink.Value.(Shared)
	t, ok2 := b.Sink.Value.(Shared)
	if !ok || !ok2 {
		return false
	}
	p, q := s.SharedSubjects(a.Name), t.SharedSubjects(b.Name)
	return p != "" && q != "" && !overlap(p, q)
}

// overlap reports whether a subject may match both patterns.
func overlap(a, b string) bool {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != "*" && y != "*" && x != y:
			return false
		}
	}
	return a == b
}

// streams refuses one stream in two pipelines, each of which would break the
// other's chain, unless neither has one and their subjects differ.
func (l *loader) streams(root *node, c *Config) {
	owners := map[string][]Pipeline{}
	for _, p := range c.Pipelines {
		s, ok := p.Sink.Value.(Streamed)
		if !ok || s.StreamName() == "" {
			continue
		}
		before := owners[s.StreamName()]
		owners[s.StreamName()] = append(before, p)
		at := slices.IndexFunc(before, func(o Pipeline) bool { return !mayShare(o, p) })
		if at < 0 {
			continue
		}
		first := before[at].Name
		entry := *root.find("pipelines").node.find(p.Name)
		l.placed(entry, fault.New(fault.Config, CodeDuplicateStream, "sink."+p.Sink.Kind+".stream",
			"give each pipeline a stream of its own; or set delivery: at_least_once in both, with subjects that differ", "the stream %q belongs to pipeline %q already", s.StreamName(), first), nil)
	}
}
