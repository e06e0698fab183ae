package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// secrets are a step's secrets by name.
type secrets map[string]unit.Secret

// stepKeys is one entry under `steps:`.
type stepKeys struct {
	Wasm    string          `yaml:"wasm" doc:"a shipped connector's name, ./file.wasm, or either with @sha256:..."`
	Name    string          `yaml:"name" doc:"unique in the pipeline; state and metrics belong to pipeline/name"`
	Only    []string        `yaml:"only" doc:"tables that the step sees: db.table, * matches any characters"`
	With    json.RawMessage `yaml:"with" doc:"the connector's own configuration"`
	Allow   []string        `yaml:"allow" doc:"capabilities that the step grants its module: clock, kv, log, metrics, random, secret; the default is none"`
	Secrets secrets         `yaml:"secrets" doc:"what the module may ask for by name, with allow: [secret]: name: ${env:NAME}"`
	Limits  Limits          `yaml:"limits" doc:"what one instance may use"`
	OnError OnError         `yaml:"on_error" doc:"what becomes of a row that the step can't process: halt, dead_letter or skip"`

	HaltAfter unit.Count `yaml:"halt_after" doc:"with on_error: dead_letter, how many dead letters of the step are kept: one more halts the pipeline; without it the pipeline's limit of 100,000 counts alone"`
}

func (l *loader) steps(e entry) []Step {
	keys := make([]stepKeys, len(e.node.items))
	for i := range keys {
		keys[i] = stepKeys{With: json.RawMessage("{}"), OnError: OnErrorHalt}
	}
	if e.node.kind != listNode && e.node.kind != nullNode {
		l.add(e.node.line, e.node.col, CodeWrongType, `write each step as "- wasm: name"`, "want a list of steps here, not %s", e.node.kind)
		return nil
	}
	var steps []Step
	lines := map[string]int{}
	for i, n := range e.node.items {
		l.decode(n, reflect.ValueOf(&keys[i]).Elem())
		if n.kind != mapNode {
			continue
		}
		s, ok := l.step(n, keys[i])
		if !ok {
			continue
		}
		if first, taken := lines[s.Name]; taken && s.Name != "" {
			at := n.child("name")
			if at == nil {
				at = n
			}
			l.add(at.line, at.col, CodeDuplicateName, "give one of them a name of its own: name: "+s.Name+"-2",
				"two steps have the name %q; the first is on line %d", s.Name, first)
		}
		lines[s.Name] = n.line
		steps = append(steps, s)
	}
	return steps
}

func (l *loader) step(n *node, k stepKeys) (Step, bool) {
	s := Step{Name: k.Name, Only: k.Only, With: k.With, Allow: k.Allow, Secrets: k.Secrets, Limits: k.Limits, OnError: k.OnError, HaltAfter: k.HaltAfter}
	l.oneOf(n.child("on_error"), string(k.OnError), string(OnErrorHalt), string(OnErrorDeadLetter), string(OnErrorSkip))
	if at := n.child("halt_after"); at != nil && at.isScalar() && !l.unknown[at] {
		switch {
		case k.OnError != OnErrorDeadLetter:
			l.add(at.line, at.col, CodeBadValue, "add on_error: dead_letter, or remove it", "halt_after counts dead letters, and the step has none")
		case k.HaltAfter < 1:
			l.add(at.line, at.col, CodeBadValue, "write a number from 1; on_error: halt halts at the first", "halt_after: %s is no number of dead letters", at.text)
		}
	}
	if at := n.child("name"); at != nil && at.isScalar() {
		l.name(at.line, at.col, "step", k.Name)
	}
	for i, pattern := range k.Only {
		if at := n.child("only").items[i]; at.isScalar() && !tableForm.MatchString(pattern) {
			l.add(at.line, at.col, CodeBadValue, `write db.table; * matches any characters: "shop.item_*"`, "%q is not a table", pattern)
		}
	}
	l.grants(n, k)
	if at := n.child("with"); at != nil && at.kind != mapNode && at.kind != nullNode {
		l.wrongType(at, mapNode)
	}
	e := l.need(n, "wasm", "name a connector: mask, filter, or ./file.wasm")
	if e == nil || !e.node.isScalar() || l.unknown[e.node] {
		return s, false
	}
	before := len(l.found)
	s.Wasm = l.module(e.node, k.Wasm)
	if s.Name == "" {
		s.Name = s.Wasm.Name
		if len(l.found) == before {
			l.name(e.node.line, e.node.col, "step, which it gets from its module: add a name;", s.Name)
		}
	}
	if l.CheckStep != nil && len(l.found) == before {
		for _, f := range l.CheckStep(s) {
			l.placed(entry{"", e.line, e.col, n}, f, nil)
		}
	}
	return s, true
}

// grants checks the capabilities that a step grants.
func (l *loader) grants(n *node, k stepKeys) {
	for i, grant := range k.Allow {
		if at := n.child("allow").items[i]; at.isScalar() && !l.unknown[at] && !slices.Contains(Capabilities, grant) {
			l.add(at.line, at.col, CodeBadValue, didYouMean(grant, slices.Clone(Capabilities)), "there is no capability %q", grant)
		}
	}
	at := n.child("secrets")
	if at == nil || at.kind != mapNode || l.unknown[at] {
		return
	}
	for _, e := range at.entries {
		if len(e.key) > SecretNameMax {
			l.add(e.line, e.col, CodeBadValue, "give it a shorter name", "the name of a secret has at most %d bytes", SecretNameMax)
		}
	}
	if len(k.Secrets) > 0 && !slices.Contains(k.Allow, "secret") {
		l.add(at.line, at.col, CodeBadValue, "add allow: [secret] to the step, or remove the secrets", "the step has secrets and does not grant its module to read them")
	}
}

// module resolves a reference without compiling or running anything.
func (l *loader) module(n *node, ref string) Module {
	m, err := ParseModule(ref, l.dir)
	switch {
	case err != nil:
		l.add(n.line, n.col, CodeBadValue, "write mask, ./file.wasm, or mask@sha256:<64 hex digits>", "%w", err)
	case m.File != "":
		l.moduleFile(n, m)
	case l.Connectors != nil && !slices.Contains(l.Connectors, m.Name):
		l.add(n.line, n.col, CodeUnknownConnector, unknownConnectorHint(m.Name, l.Connectors), "no connector %q is shipped with this cdcd", m.Name)
	}
	return m
}

func unknownConnectorHint(name string, shipped []string) string {
	if len(shipped) == 0 {
		return "this binary was built without connectors: run make connectors, then build again"
	}
	return strings.TrimSuffix(didYouMean(name, slices.Clone(shipped)), "?") + "; a module of your own is named by its file: ./" + name + ".wasm"
}

func (l *loader) moduleFile(n *node, m Module) {
	f, err := os.Open(m.File)
	if err != nil {
		code, hint := CodeFileUnreadable, "allow this user to read it"
		if errors.Is(err, fs.ErrNotExist) {
			code, hint = CodeModuleMissing, "build it, or correct the path, which is relative to this file"
		}
		l.add(n.line, n.col, code, hint, "%w", err)
		return
	}
	defer f.Close()
	sum := sha256.New()
	head := make([]byte, 4)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, []byte("\x00asm")) {
		l.add(n.line, n.col, CodeNotWasm, "build it with GOOS=wasip1 GOARCH=wasm, or name another file", "%s is not a WebAssembly module", m.File)
		return
	}
	sum.Write(head)
	if _, err := io.Copy(sum, f); err != nil {
		l.add(n.line, n.col, CodeFileUnreadable, "check the disk", "%w", err)
		return
	}
	if got := hex.EncodeToString(sum.Sum(nil)); m.Digest != "" && got != m.Digest {
		l.addFault(n.line, n.col, fault.New(fault.Config, CodeDigestMismatch, "",
			"if the change is wanted, write @sha256:"+got, "%s has another digest than the one written here", m.File))
	}
}
