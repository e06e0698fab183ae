package tidy

import (
	"fmt"
	"strings"
)

// checkEdges compares every import of the module's own packages with the table.
func checkEdges(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		row, ok := rowFor(edges, f.dir)
		if !ok && f.dir != "." {
			problems = append(problems, fmt.Sprintf(
				"%s: package %s has no row in the table of import edges; add it with what it may import", f.path, f.dir))
			continue
		}
		may := row.may
		if f.test {
			extra, _ := rowFor(testEdges, f.dir)
			general, _ := rowFor(testEdges, "...")
			may += " " + extra.may + " " + general.may
		}
		for _, imported := range f.imports() {
			target, internal := strings.CutPrefix(imported, t.module+"/")
			if !internal || target == f.dir || under(may, target) {
				continue
			}
			problems = append(problems, fmt.Sprintf("%s: %s must not import %s: %s", f.path, f.dir, target, row.rule))
		}
	}
	return problems
}

func rowFor(table []edge, dir string) (edge, bool) {
	for _, row := range table {
		if under(row.pkg, dir) {
			return row, true
		}
	}
	return edge{}, false
}

// checkLibraries keeps each heavy dependency behind the package that owns it.
func checkLibraries(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		for _, imported := range f.imports() {
			if strings.HasPrefix(imported, t.module+"/") {
				continue
			}
			domain, _, _ := strings.Cut(imported, "/")
			if strings.Contains(domain, ".") && !f.test && under(standardOnly, f.dir) {
				problems = append(problems, fmt.Sprintf(
					"%s: %s must not import %s: it uses the standard library only", f.path, f.dir, imported))
			}
			for _, library := range libraries {
				if !strings.HasPrefix(imported+"/", library.module+"/") || under(library.pkgs, f.dir) || f.test && library.tests {
					continue
				}
				problems = append(problems, fmt.Sprintf(
					"%s: %s must not import %s: only these may: %s", f.path, f.dir, imported, library.pkgs))
			}
		}
	}
	return problems
}
