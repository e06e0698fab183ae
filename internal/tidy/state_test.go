package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"strings"
)

// checkInit refuses init functions: what happens at start is in main, in order.
func checkInit(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if under(guestCode, f.dir) {
			continue
		}
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				problems = append(problems, t.at(fn.Pos(), "func init in %s: do it where it is needed, by a call", f.dir))
			}
		}
	}
	return problems
}

// checkState refuses package-level variables that can change: those without a
// value to start with, those made to be filled or locked, and any that is
// assigned or whose address is taken. What is left are constants that Go has
// no word for: errors, patterns, tables, embedded files.
func checkState(t *tree) []string {
	var problems []string
	for dir, files := range t.packages() {
		if under(guestCode, dir) {
			continue
		}
		vars := map[string]*ast.ValueSpec{}
		for _, f := range files {
			for _, spec := range packageVars(f.syntax) {
				for _, name := range spec.spec.Names {
					vars[name.Name] = spec.spec
				}
				if why := changeable(spec); why != "" {
					problems = append(problems, t.at(spec.spec.Pos(), "package-level %s %s: keep it in a value that somebody owns",
						spec.spec.Names[0].Name, why))
				}
			}
		}
		for _, f := range files {
			problems = append(problems, t.changes(f, vars)...)
		}
	}
	return problems
}

// packageVar is one declaration of package-level variables.
type packageVar struct {
	spec     *ast.ValueSpec
	embedded bool // filled by the compiler
}

func packageVars(syntax *ast.File) []packageVar {
	var vars []packageVar
	for _, decl := range syntax.Decls {
		decl, ok := decl.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, spec := range decl.Specs {
			spec := spec.(*ast.ValueSpec)
			vars = append(vars, packageVar{spec, hasEmbed(decl.Doc) || hasEmbed(spec.Doc)})
		}
	}
	return vars
}

func hasEmbed(doc *ast.CommentGroup) bool {
	if doc != nil {
		for _, comment := range doc.List {
			if strings.HasPrefix(comment.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// changeable says why a declaration alone shows that the variable is meant to
// change, or "".
func changeable(v packageVar) (why string) {
	if v.embedded || v.spec.Names[0].Name == "_" {
		return ""
	}
	if len(v.spec.Values) == 0 {
		return "has no value to start with"
	}
	for _, value := range v.spec.Values {
		ast.Inspect(value, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncLit:
				return false // what it does inside is its own
			case *ast.SelectorExpr:
				if isName(node.X, "sync") || isName(node.X, "atomic") {
					why = "is of package " + node.X.(*ast.Ident).Name
				}
			case *ast.CallExpr:
				if isName(node.Fun, "make") || isName(node.Fun, "new") {
					why = "is made empty, to be filled"
				}
			}
			return true
		})
	}
	return why
}

// changes finds what the file does to package-level variables, its own
// package's and other packages'.
func (t *tree) changes(f *file, vars map[string]*ast.ValueSpec) []string {
	var problems []string
	report := func(target ast.Expr, deed string) {
		if name := f.packageVar(target, vars); name != "" {
			problems = append(problems, t.at(target.Pos(), "package-level %s is %s", name, deed))
		}
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			for _, target := range node.Lhs {
				if node.Tok != token.DEFINE {
					report(target, "assigned")
				}
			}
		case *ast.RangeStmt:
			if node.Tok == token.ASSIGN {
				report(node.Key, "assigned")
				report(node.Value, "assigned")
			}
		case *ast.IncDecStmt:
			report(node.X, "assigned")
		case *ast.UnaryExpr:
			if node.Op == token.AND {
				report(node.X, "passed by address")
			}
		case *ast.CallExpr:
			if len(node.Args) > 0 && (isName(node.Fun, "delete") || isName(node.Fun, "clear")) {
				report(node.Args[0], "emptied")
			}
		}
		return true
	})
	return problems
}

// packageVar names the package-level variable that an expression is a part of, or "".
func (f *file) packageVar(expr ast.Expr, vars map[string]*ast.ValueSpec) string {
	for {
		switch e := expr.(type) {
		case *ast.ParenExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.SliceExpr:
			expr = e.X
		case *ast.StarExpr:
			expr = e.X
		case *ast.SelectorExpr:
			if ident, ok := e.X.(*ast.Ident); ok && ident.Obj == nil && f.importsAs(ident.Name) {
				return ident.Name + "." + e.Sel.Name
			}
			expr = e.X
		case *ast.Ident:
			spec, ok := vars[e.Name]
			// The parser resolves names inside a file: a local variable has
			// its own declaration, one of another file of the package has none.
			if !ok || e.Obj != nil && e.Obj.Decl != spec {
				return ""
			}
			return e.Name
		default:
			return ""
		}
	}
}

// importsAs tells whether name is one of the file's imports.
func (f *file) importsAs(name string) bool {
	for i, imported := range f.imports() {
		if spec := f.syntax.Imports[i]; spec.Name != nil && spec.Name.Name == name || spec.Name == nil && path.Base(imported) == name {
			return true
		}
	}
	return false
}
