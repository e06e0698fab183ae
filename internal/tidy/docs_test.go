package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// checkPackageDocs wants a doc.go with a package comment in every package.
func checkPackageDocs(t *tree) []string {
	var problems []string
	for dir, files := range t.packages() {
		i := slices.IndexFunc(files, func(f *file) bool { return path.Base(f.path) == "doc.go" })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("%s: no doc.go; it names the package's job and its neighbours", dir))
		case files[i].syntax.Doc == nil:
			problems = append(problems, fmt.Sprintf("%s: doc.go has no package comment", dir))
		}
	}
	return problems
}

// checkExportedDocs wants a comment on every exported name.
func checkExportedDocs(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if f.test || ast.IsGenerated(f.syntax) {
			continue
		}
		for _, name := range undocumented(f.syntax) {
			problems = append(problems, t.at(name.Pos(), "exported %s has no comment", name.Name))
		}
	}
	return problems
}

func undocumented(syntax *ast.File) []*ast.Ident {
	var names []*ast.Ident
	for _, decl := range syntax.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Doc == nil && decl.Name.IsExported() && exportedReceiver(decl) {
				names = append(names, decl.Name)
			}
		case *ast.GenDecl:
			if decl.Tok == token.IMPORT {
				continue
			}
			for _, spec := range decl.Specs {
				names = append(names, undocumentedSpec(decl, spec)...)
			}
		}
	}
	return names
}

// undocumentedSpec takes a comment on a group of constants or variables for all
// of them, but wants one on each type.
func undocumentedSpec(decl *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		documented := spec.Doc != nil || decl.Doc != nil && len(decl.Specs) == 1
		if !documented && spec.Name.IsExported() {
			return []*ast.Ident{spec.Name}
		}
	case *ast.ValueSpec:
		if decl.Doc != nil || spec.Doc != nil || spec.Comment != nil {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(spec.Names), func(name *ast.Ident) bool { return !name.IsExported() })
	}
	return nil
}

// exportedReceiver tells whether a method belongs to an exported type; a
// function counts as if it did.
func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return true
	}
	exported := false
	ast.Inspect(fn.Recv.List[0].Type, func(node ast.Node) bool {
		ident, ok := node.(*ast.Ident)
		if ok {
			exported = ident.IsExported()
		}
		return !ok && node != nil
	})
	return exported
}

// checkDesigns wants a DESIGN.md beside the code of every stateful package.
func checkDesigns(t *tree) []string {
	var problems []string
	packages := t.packages()
	for _, dir := range strings.Fields(stateful) {
		if len(packages[dir]) > 0 && !t.has(path.Join(dir, "DESIGN.md")) {
			problems = append(problems, fmt.Sprintf("%s: holds state and has no DESIGN.md", dir))
		}
	}
	return problems
}

// checkDependencies wants few direct dependencies, each with its reason.
func checkDependencies(t *tree) []string {
	mod, err := fs.ReadFile(t.fsys, "go.mod")
	if err != nil {
		return []string{err.Error()}
	}
	var direct []string
	for _, line := range strings.Split(string(mod), "\n") {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) > 1 && strings.HasPrefix(fields[1], "v") && !strings.Contains(line, "// indirect") {
			direct = append(direct, fields[0])
		}
	}
	var problems []string
	if len(direct) > dependenciesMax {
		problems = append(problems, fmt.Sprintf("go.mod: %d direct dependencies, more than %d", len(direct), dependenciesMax))
	}
	const record = "docs/design/dependencies.md"
	reasons, err := fs.ReadFile(t.fsys, record)
	if err != nil {
		return problems // the record is not written yet
	}
	for _, module := range direct {
		if !strings.Contains(string(reasons), module) {
			problems = append(problems, fmt.Sprintf("go.mod: %s has no reason in %s", module, record))
		}
	}
	return problems
}
