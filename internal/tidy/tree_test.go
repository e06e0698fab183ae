package tidy

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// tree is the module's source, parsed but not type-checked.
type tree struct {
	fsys   fs.FS
	module string
	fset   *token.FileSet
	files  []*file
}

// file is one Go file of the tree.
type file struct {
	path   string // relative to the module's root
	dir    string // its package's folder, "." for the root
	src    []byte
	syntax *ast.File
	test   bool
}

// load parses every Go file of the module at the root of fsys. Hidden folders,
// testdata and nested modules are not the module's.
func load(fsys fs.FS) (*tree, error) {
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, err
	}
	name := regexp.MustCompile(`(?m)^module (\S+)`).FindSubmatch(mod)
	if name == nil {
		return nil, errors.New("go.mod names no module")
	}
	t := &tree{fsys: fsys, module: string(name[1]), fset: token.NewFileSet()}
	return t, fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && t.skips(name):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return t.add(name)
	})
}

func (t *tree) skips(dir string) bool {
	base := path.Base(dir)
	return base[0] == '.' || base[0] == '_' || base == "testdata" || base == "node_modules" || t.has(path.Join(dir, "go.mod"))
}

func (t *tree) add(name string) error {
	src, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments)
	if err != nil {
		return err
	}
	t.files = append(t.files, &file{
		path: name, dir: path.Dir(name), src: src, syntax: syntax,
		test: strings.HasSuffix(name, "_test.go"),
	})
	return nil
}

func (t *tree) has(name string) bool {
	_, err := fs.Stat(t.fsys, name)
	return err == nil
}

// packages groups the files that ship by folder, leaving tests out.
func (t *tree) packages() map[string][]*file {
	packages := map[string][]*file{}
	for _, f := range t.files {
		if !f.test {
			packages[f.dir] = append(packages[f.dir], f)
		}
	}
	return packages
}

// at words a problem with the line where it is.
func (t *tree) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s: %s", t.fset.Position(pos), fmt.Sprintf(format, args...))
}

// imports returns the paths that the file imports.
func (f *file) imports() []string {
	var paths []string
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

func (f *file) lines() int { return bytes.Count(f.src, []byte("\n")) }

// under tells whether dir matches one of the space-separated patterns.
func under(patterns, dir string) bool {
	return slices.ContainsFunc(strings.Fields(patterns), func(pattern string) bool {
		root, below := strings.CutSuffix(pattern, "...")
		root = strings.TrimSuffix(root, "/")
		return dir == root || below && (root == "" || strings.HasPrefix(dir, root+"/"))
	})
}
