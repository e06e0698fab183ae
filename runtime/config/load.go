package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// Kind is a kind of source, sink or message format as the configuration sees it: its key, and
// its struct with defaults. The struct may have Validate() []*fault.Fault.
type Kind struct {
	Name      string
	NewConfig func() any
}

// Options say what the file may refer to.
type Options struct {
	Sources, Sinks []Kind
	// Formats are what a field of type unit.Choice chooses from; nil leaves names
	// unchecked.
	Formats []Kind
	// Connectors holds the names of the shipped connectors; nil leaves names
	// unchecked.
	Connectors []string
	// CheckStep, when set, looks into a step's module without running it and
	// returns what is wrong; a fault's path is a key within the step ("with").
	CheckStep func(Step) []*fault.Fault
	// Getenv looks up an environment variable; nil means os.LookupEnv.
	Getenv func(string) (string, bool)
}

// loader reads one file.
type loader struct {
	Options
	file  string // for places
	dir   string // that relative paths are relative to
	found Findings
	// unknown holds leaves whose value could not be had: they are reported
	// once, and what follows from their absence is not.
	unknown map[*node]bool
	// meant holds keys that are missing because they are misspelt, by the node
	// they belong to.
	meant map[*node][]string
}

// Load reads and validates a file. The error is Findings, or a fault when the
// file can't be read at all.
func Load(path string, o Options) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Config, CodeUnreadable, path,
			"name a configuration file that this user may read", "%w", err)
	}
	return Parse(path, text, o)
}

// Parse validates a file's text; path is for places and for relative paths in
// it. The error is Findings.
func Parse(path string, text []byte, o Options) (*Config, error) {
	l := &loader{Options: o, file: path, dir: filepath.Dir(path), unknown: map[*node]bool{}, meant: map[*node][]string{}}
	root := l.parse(text)
	l.expand(root)
	c := &Config{Path: path}
	if root != nil {
		l.root(root, c)
	}
	if err := l.result(); err != nil {
		return nil, err
	}
	return c, nil
}

func (l *loader) getenv(name string) (string, bool) {
	if l.Getenv != nil {
		return l.Getenv(name)
	}
	return os.LookupEnv(name)
}

func (l *loader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.dir, p)
}

var rootKeys = []string{"version", "pipelines", "tests", "server", "state", "nats", "memory"}

func (l *loader) root(n *node, c *Config) {
	if n.kind != mapNode {
		l.add(n.line, n.col, CodeWrongType, `begin with "version: 1" and "pipelines:"`, "want keys with values here, not %s", n.kind)
		return
	}
	c.State = State{Dir: l.path(DefaultStateDir)}
	c.NATS = NATS{Embedded: defaultEmbedded()}
	c.Memory = Memory{InFlight: DefaultInFlight, InFlightMin: DefaultInFlightMin}
	for _, e := range n.entries {
		switch e.key {
		case "version":
			l.version(e)
		case "pipelines":
			l.pipelines(e, c)
		case "tests":
			l.tests(e, c)
		case "server":
			l.server(e, c)
		case "state":
			l.state(e.node, c)
		case "nats":
			l.nats(e, c)
		case "memory":
			l.memory(e, c)
		default:
			l.unknownKey(n, e, slices.Clone(rootKeys))
		}
	}
	l.need(n, "version", `write "version: 1"`)
	l.need(n, "pipelines", "add a pipeline with a source and a sink")
	l.testPipelines(n, c)
	l.streams(n, c)
}

// need reports a key that is not there.
func (l *loader) need(n *node, key, hint string) *entry {
	e := n.find(key)
	if e == nil && !slices.Contains(l.meant[n], key) {
		l.add(n.line, n.col, CodeMissingKey, hint, "the key %q is missing", key)
	}
	return e
}

func (l *loader) version(e entry) {
	if e.node.text != "1" {
		l.add(e.node.line, e.node.col, CodeVersion, `write "version: 1"`, "version %q is not known to this cdcd", e.node.text)
	}
}

func (l *loader) pipelines(e entry, c *Config) {
	if e.node.kind == nullNode || e.node.kind == mapNode && len(e.node.entries) == 0 {
		l.add(e.line, e.col, CodeMissingKey, "add a pipeline with a source and a sink", "there is no pipeline")
		return
	}
	if e.node.kind != mapNode {
		l.wrongType(e.node, mapNode)
		return
	}
	for _, p := range e.node.entries {
		l.name(p.line, p.col, "pipeline", p.key)
		c.Pipelines = append(c.Pipelines, l.pipeline(p))
	}
}

func (l *loader) name(line, col int, of, name string) {
	if !nameForm.MatchString(name) {
		l.add(line, col, CodeBadName, "use a-z, 0-9, - and _, beginning with a letter, at most 63 characters",
			"%q can't be the name of a %s", name, of)
	}
}

func (l *loader) pipeline(e entry) Pipeline {
	p := Pipeline{Name: e.key}
	n := e.node
	if n.kind != mapNode {
		l.add(n.line, n.col, CodeWrongType, "give it a source and a sink", "want keys with values here, not %s", n.kind)
		return p
	}
	for _, k := range n.entries {
		switch k.key {
		case "source":
			p.Source = l.component(k, "source", l.Sources)
		case "steps":
			p.Steps = l.steps(k)
		case "sink":
			p.Sink = l.component(k, "sink", l.Sinks)
		case "schedule":
			p.Schedule = l.schedule(k.node)
		default:
			l.unknownKey(n, k, []string{"source", "steps", "sink", "schedule"})
		}
	}
	l.scheduled(n.find("schedule"), p)
	l.need(n, "source", "add a source, such as mysql")
	l.need(n, "sink", "add a sink, such as jetstream")
	return p
}

// component decodes the one key under `source:` or `sink:` into its kind's struct.
func (l *loader) component(e entry, of string, kinds []Kind) Component {
	n := e.node
	if l.unknown[n] {
		return Component{}
	}
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	if n.kind == textNode && nearest(n.text, names) == n.text { // `sink: stdout`
		n = &node{kind: mapNode, line: n.line, col: n.col, entries: []entry{{n.text, n.line, n.col, &node{line: n.line, col: n.col}}}}
	}
	if n.kind != mapNode || len(n.entries) == 0 {
		l.add(n.line, n.col, CodeWrongType, didYouMean(n.text, names), "want the kind of %s as a key here, not %s", of, n.kind)
		return Component{}
	}
	if len(n.entries) > 1 {
		second := n.entries[1]
		l.add(second.line, second.col, CodeDuplicateKey, "make a second pipeline for it", "a pipeline has one %s; %q is there already", of, n.entries[0].key)
	}
	k := n.entries[0]
	for _, kind := range kinds {
		if kind.Name == k.key {
			value := kind.NewConfig()
			l.decode(k.node, reflect.ValueOf(value))
			l.validate(k, value)
			return Component{Kind: kind.Name, Value: value}
		}
	}
	l.add(k.line, k.col, CodeUnknownKind, didYouMean(k.key, names), "there is no %s of kind %q", of, k.key)
	return Component{}
}

// choice decodes the kind of a message format, with its options where it has
// some: `format: json`, `format: {debezium: {schemas: true}}`.
func (l *loader) choice(n *node, v reflect.Value) {
	if n.kind == textNode {
		var names []string
		for _, k := range l.Formats {
			names = append(names, k.Name)
		}
		if names == nil {
			v.Set(reflect.ValueOf(unit.Choice{Kind: n.text}))
			return
		}
		if !slices.Contains(names, n.text) {
			l.add(n.line, n.col, CodeUnknownKind, didYouMean(n.text, names), "there is no format of kind %q", n.text)
			return
		}
	}
	if c := l.component(entry{line: n.line, col: n.col, node: n}, "format", l.Formats); c.Kind != "" {
		v.Set(reflect.ValueOf(unit.Choice{Kind: c.Kind, Config: c.Value}))
	}
}

// validate asks a kind's struct what it thinks of itself.
func (l *loader) validate(e entry, value any) {
	v, ok := value.(interface{ Validate() []*fault.Fault })
	if !ok {
		return
	}
	before := l.found
	for _, f := range v.Validate() {
		l.placed(e, f, before)
	}
}

// placed adds a fault whose path is a key path below an entry. What follows
// from a finding that the same place has already says nothing new.
func (l *loader) placed(e entry, f *fault.Fault, before Findings) {
	line, col := e.line, e.col
	at := e.node
	for _, part := range keyPath.FindAllString(f.Path, -1) {
		next := at.child(part)
		if next == nil && slices.Contains(l.meant[at], part) {
			return
		}
		if next == nil {
			break
		}
		at, line, col = next, next.line, next.col
	}
	if l.unknown[at] || before.has(line, col) {
		return
	}
	if f.Class != fault.Config {
		copied := *f
		copied.Class = fault.Config
		f = &copied
	}
	l.addFault(line, col, f)
}

func (f Findings) has(line, col int) bool {
	for i := range f {
		if f[i].Line == line && f[i].Column == col {
			return true
		}
	}
	return false
}

// keyPath splits "tables[1].name" into "tables", "[1]", "name".
var keyPath = regexp.MustCompile(`\[\d+\]|[^.\[\]]+`)

func (n *node) child(part string) *node {
	if n == nil {
		return nil
	}
	if index, ok := strings.CutPrefix(part, "["); ok {
		i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || i >= len(n.items) {
			return nil
		}
		return n.items[i]
	}
	if e := n.find(part); e != nil {
		return e.node
	}
	return nil
}
