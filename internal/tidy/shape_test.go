package tidy

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// checkSizes bounds files and functions. Generated code may be as long as it is.
func checkSizes(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if ast.IsGenerated(f.syntax) {
			continue
		}
		limit := fileLinesMax
		if f.test {
			limit = testFileLinesMax
		}
		if n := f.lines(); n > limit {
			problems = append(problems, fmt.Sprintf("%s: %d lines, more than %d: split it by what it does", f.path, n, limit))
		}
		if f.test {
			continue
		}
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
			if n > functionLinesMax {
				problems = append(problems, t.at(fn.Pos(), "%s has %d lines, more than %d", fn.Name.Name, n, functionLinesMax))
			}
		}
	}
	return problems
}

// checkNames refuses package names that say nothing, and packages in the root.
func checkNames(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if name := f.syntax.Name.Name; slices.Contains(strings.Fields(vagueNames), name) {
			problems = append(problems, fmt.Sprintf("%s: package %s does not say what it is for", f.path, name))
		}
		if f.dir == "." {
			problems = append(problems, fmt.Sprintf("%s: the root of the repository holds no Go package", f.path))
		}
	}
	return problems
}

// checkText refuses unfinished work and paths of somebody's machine, which a
// Go file could only hold by mistake.
func checkText(t *tree) []string {
	var problems []string
	// In pieces, so that this file is not its own first offence.
	unfinished := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	machine := regexp.MustCompile("(^|[\\s\"'`(=:])/(home|root|Users|work|tmp)/[\\w.-]")
	for _, f := range t.files {
		for i, line := range strings.Split(string(f.src), "\n") {
			if found := unfinished.FindString(line); found != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: finish it or remove it", f.path, i+1, found))
			}
			if found := machine.FindString(line); found != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: an absolute path of one machine: %s", f.path, i+1, strings.TrimSpace(line)))
			}
		}
	}
	return problems
}

// checkContexts lets contexts begin in programs and tests only; everywhere else
// they are handed down, so that everything can be cancelled.
func checkContexts(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if f.test || under(rootContexts, f.dir) {
			continue
		}
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok && isName(selector.X, "context") && selector.Sel.Name == "Background" {
				problems = append(problems, t.at(node.Pos(), "context.Background in %s: take a context from the caller", f.dir))
			}
			return true
		})
	}
	return problems
}

func isName(expr ast.Expr, name string) bool {
	ident, ok := expr.(*ast.Ident)
	return ok && ident.Name == name
}
