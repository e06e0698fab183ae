package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/docs"
)

// Every code that the product's source gives to a fault is explained, with its
// class, a meaning and a way out, and nothing else is.
func TestEveryCodeIsExplained(t *testing.T) {
	explained := map[string]docs.Explanation{}
	for _, x := range docs.Errors() {
		if _, twice := explained[x.Code]; twice {
			t.Errorf("%s is explained twice", x.Code)
		}
		if x.Meaning == "" || x.WayOut == "" {
			t.Errorf("%s has no meaning or no way out", x.Code)
		}
		if !slices.Contains([]string{"fatal", "config", "environment", "retryable", "poison"}, x.Class) {
			t.Errorf("%s has the class %q", x.Code, x.Class)
		}
		explained[x.Code] = x
	}
	used := codesIn(t, "../..")
	if len(used) < 20 {
		t.Fatalf("found only %d codes in the source: the search is broken", len(used))
	}
	for code, at := range used {
		if _, ok := explained[code]; !ok {
			t.Errorf("%s: the code %q is not explained in docs/errors.md", at, code)
		}
	}
	for code := range explained {
		if _, ok := used[code]; !ok {
			t.Errorf("docs/errors.md explains %q, which no fault has", code)
		}
	}
}

var codeForm = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// codesIn returns every code in the tree with the place of one use: string
// constants named Code..., the second argument of fault.New, the first text
// given to what wraps it, and the field Code of a Fault literal.
func codesIn(t *testing.T, root string) map[string]string {
	t.Helper()
	codes := map[string]string{}
	fset := token.NewFileSet()
	take := func(e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		if code, err := strconv.Unquote(lit.Value); err == nil && codeForm.MatchString(code) {
			codes[code] = fset.Position(lit.Pos()).String()
		}
	}
	takeFirst := func(args []ast.Expr) { // of what wraps fault.New: a.fault(code, ...)
		for _, a := range args {
			if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if lit.Value != `"tables"` && lit.Value != `"files"` { // a path, where the code is the wrapper's own
					take(lit)
				}
				return
			}
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || len(d.Name()) > 2 && strings.HasPrefix(d.Name(), ".") || d.Name() == "bench" || d.Name() == "connectors-wasm" || d.Name() == "sdk") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch s, ok := n.Fun.(*ast.SelectorExpr); {
				case ok && s.Sel.Name == "New" && isIdent(s.X, "fault") && len(n.Args) > 1:
					take(n.Args[1])
				case ok && (s.Sel.Name == "fault" || s.Sel.Name == "refusal"), isIdent(n.Fun, "refuse"), isIdent(n.Fun, "f"):
					takeFirst(n.Args)
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if strings.HasPrefix(strings.ToLower(name.Name), "code") && i < len(n.Values) {
						take(n.Values[i])
					}
				}
			case *ast.CompositeLit:
				if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Fault" || isIdent(n.Type, "Fault") {
					for _, e := range n.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok && isIdent(kv.Key, "Code") {
							take(kv.Value)
						}
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
