package tidy

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// rules are the house rules. Each has fixtures that break it: a path, the
// content of the file there, and a part of what the rule must say.
var rules = []struct {
	name  string
	check func(*tree) []string
	bad   [][3]string
	good  [][2]string
}{
	{"imports run one way", checkEdges, [][3]string{
		{"sdk/a.go", `import "m/internal/fault"`, "sdk must not import internal/fault: sdk is the leaf"},
		{"cdc/mysql/a.go", `import "m/state"`, "cdc/mysql must not import state: cdc never imports its siblings"},
		{"state/a.go", `import "m/cdc"`, "state must not import cdc"},
		{"runtime/sink/kv/a.go", `import "m/runtime/sink/jetstream"`, "not other sinks"},
		{"runtime/pipeline/a.go", `import "m/cdc/mysql"`, "never a kind of source"},
		{"runtime/admin/a.go", `import "m/runtime/natsd"`, "know neither each other"},
		{"runtime/a.go", `import "m/runtime/sink/kv"`, "handed its kinds"},
		{"connectors-wasm/mask/a.go", `import "m/internal/fault"`, "sdk and sdk/guest only"},
		{"cmd/cdcd/a.go", `import "m/internal/testserver"`, "nothing else"},
		{"state/a_test.go", `import "m/cdc/mysql"`, "state must not import cdc/mysql"},
		{"brand/new/a.go", ``, "no row in the table"},
	}, [][2]string{
		{"cmd/cdcd/a.go", `import ("m/runtime"; "m/cdc/mysql"; "m/runtime/sink/kv")`},
		{"runtime/pipeline/a.go", `import ("m/cdc"; "m/state"; "m/runtime/wasm"; "m/sdk")`},
		{"runtime/pipeline/a_test.go", `import ("m/cdc/mysql"; "m/internal/testserver")`},
		{"state/a_test.go", `import "m/internal/testserver"`},
	}},
	{"heavy libraries have one owner", checkLibraries, [][3]string{
		{"runtime/pipeline/a.go", `import "github.com/tetratelabs/wazero/api"`, "only these may: runtime/wasm/... bench/..."},
		{"state/a.go", `import "github.com/nats-io/nats.go/jetstream"`, "must not import"},
		{"cdc/schema/a.go", `import "github.com/go-mysql-org/go-mysql/mysql"`, "only these may: cdc/mysql/..."},
		{"cdc/a_test.go", `import "github.com/cockroachdb/pebble/v2"`, "only these may: state/..."},
		{"sdk/a.go", `import "golang.org/x/text/cases"`, "standard library only"},
		{"connectors-wasm/mask/a.go", `import "golang.org/x/text/cases"`, "standard library only"},
	}, [][2]string{
		{"sdk/a.go", `import "encoding/json"`},
		{"cdc/mysql/a.go", `import "github.com/go-mysql-org/go-mysql/replication"`},
		{"examples/a/a_test.go", `import "github.com/nats-io/nats.go"`},
	}},
	{"files and functions are short", checkSizes, [][3]string{
		{"sdk/a.go", strings.Repeat("// more\n", fileLinesMax), "more than 500"},
		{"sdk/a_test.go", strings.Repeat("// more\n", testFileLinesMax), "more than 700"},
		{"sdk/a.go", "func long() {\n" + strings.Repeat("\n", functionLinesMax) + "}", "long has 72 lines"},
	}, [][2]string{
		{"sdk/a.go", "func fits() {\n" + strings.Repeat("\n", functionLinesMax-2) + "}"},
		{"sdk/a_test.go", strings.Repeat("// more\n", fileLinesMax)},
	}},
	{"packages say what they are", checkPackageDocs, [][3]string{
		{"sdk/a.go", ``, "sdk: no doc.go"},
		{"sdk/doc.go", ``, "no package comment"},
	}, [][2]string{{"sdk/a_test.go", ``}}},
	{"exported names are documented", checkExportedDocs, [][3]string{
		{"sdk/a.go", "func Do() {}", "exported Do has no comment"},
		{"sdk/a.go", "type T[E any] struct{}\nfunc (t *T[E]) Do() {}", "exported Do has no comment"},
		{"sdk/a.go", "type T int", "exported T has no comment"},
		{"sdk/a.go", "// Some types.\ntype (\n\tT int\n\tU int\n)", "exported U has no comment"},
		{"sdk/a.go", "const (\n\tA = 1\n)", "exported A has no comment"},
	}, [][2]string{
		{"sdk/a.go", "// Do does.\nfunc Do() {}\n\ntype t int\nfunc (t) String() string { return \"\" }"},
		{"sdk/a.go", "// Letters.\nconst (\n\tA = 1\n\tB = 2\n)\nvar (\n\tC = 1 // the third\n\td = 2\n)"},
		{"sdk/a_test.go", "func TestDo() {}"},
	}},
	{"names say something", checkNames, [][3]string{
		{"helpers/a.go", ``, "does not say what it is for"},
		{"a.go", ``, "root of the repository holds no Go package"},
	}, [][2]string{{"sdk/a.go", ``}}},
	{"nothing happens before main", checkInit, [][3]string{
		{"sdk/a.go", "func init() {}", "func init in sdk"},
		{"sdk/a_test.go", "func init() {}", "func init in sdk"},
	}, [][2]string{
		{"connectors-wasm/mask/a.go", "func init() {}"},
		{"sdk/a.go", "type t int\nfunc (t) init() {}"},
	}},
	{"packages hold no state", checkState, [][3]string{
		{"sdk/a.go", "var x = 1\nfunc f() { x = 2 }", "package-level x is assigned"},
		{"sdk/a.go", "var x = []int{1}\nfunc f() { (x)[0]++ }", "package-level x is assigned"},
		{"sdk/a.go", "var x = [1]int{1}\nfunc f() { for x[0] = range 3 {} }", "package-level x is assigned"},
		{"sdk/a.go", "var x = t{}\nfunc f() { g(&x.y) }", "package-level x is passed by address"},
		{"sdk/a.go", "var x = map[int]int{1: 1}\nfunc f() { delete(x, 1) }", "package-level x is emptied"},
		{"sdk/a.go", "var x int", "x has no value"},
		{"sdk/a.go", "var x = sync.OnceFunc(f)", "x is of package sync"},
		{"sdk/a.go", "var x = map[int][]int{1: make([]int, 0)}", "x is made empty"},
		{"sdk/a.go", "import \"net/http\"\nfunc f() { http.DefaultClient = nil }", "http.DefaultClient is assigned"},
	}, [][2]string{
		{"sdk/a.go", "var _ fmt.Stringer = t{}\nvar ErrGone = errors.New(\"gone\")\nvar names = map[int]string{1: \"a\"}"},
		{"sdk/a.go", "var x = 1\nfunc f() { x := x; x++; g(&x) }\nfunc h(x t) { x.y = 1 }"},
		{"sdk/a.go", "//go:embed a.txt\nvar text string"},
		{"connectors-wasm/mask/a.go", "var seen int"},
		{"sdk/a_test.go", "var update bool"},
	}},
	{"contexts come from programs", checkContexts, [][3]string{
		{"cdc/a.go", "func f() { g(context.Background()) }", "context.Background in cdc"},
	}, [][2]string{
		{"cmd/cdcd/a.go", "func f() { g(context.Background()) }"},
		{"cdc/a_test.go", "func f() { g(context.Background()) }"},
	}},
	{"stateful packages explain themselves", checkDesigns, [][3]string{
		{"state/a.go", ``, "state: holds state and has no DESIGN.md"},
	}, [][2]string{{"sdk/a.go", ``}}},
	{"source is finished and portable", checkText, [][3]string{
		{"sdk/a.go", "// TO" + "DO: more", "finish it or remove it"},
		{"sdk/a.go", "const dir = \"/ho" + "me/me/data\"", "an absolute path"},
	}, [][2]string{
		{"sdk/a.go", "const url = \"https://a.b/home/x\" // see /v1/work/x and /etc/cdcd.yaml"},
	}},
	{"dependencies have reasons", checkDependencies, [][3]string{
		{"docs/design/dependencies.md", "example.com/used", "example.com/other has no reason"},
		{"go.mod", "module m\nrequire (\n" + strings.Repeat("\texample.com/x v1.0.0\n", dependenciesMax+1) + ")", "21 direct dependencies"},
	}, [][2]string{
		{"docs/design/dependencies.md", "example.com/used and example.com/other"},
	}},
}

const fixtureMod = "module m\n\ngo 1.26.0\n\nrequire (\n\texample.com/used v1.0.0\n\texample.com/other v2.0.0\n)\n\nrequire example.com/far v1.0.0 // indirect\n"

// TestHouseRules holds the repository itself to the rules.
func TestHouseRules(t *testing.T) {
	repository, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			problems := rule.check(repository)
			slices.Sort(problems)
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}

// TestRulesCanFail shows each rule finding what it is for, and only that.
func TestRulesCanFail(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			for i, bad := range rule.bad {
				t.Run(fmt.Sprint("bad ", i), func(t *testing.T) {
					problems := rule.check(fixture(t, bad[0], bad[1]))
					if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, bad[2]) }) {
						t.Errorf("want a problem with %q, got %q", bad[2], problems)
					}
				})
			}
			for i, good := range rule.good {
				t.Run(fmt.Sprint("good ", i), func(t *testing.T) {
					if problems := rule.check(fixture(t, good[0], good[1])); len(problems) > 0 {
						t.Errorf("want no problem, got %q", problems)
					}
				})
			}
		})
	}
}

// fixture is a module with one file. Go files get their package clause, named
// after their folder.
func fixture(t *testing.T, name, content string) *tree {
	t.Helper()
	fsys := fstest.MapFS{"go.mod": {Data: []byte(fixtureMod)}}
	if strings.HasSuffix(name, ".go") {
		parts := strings.Split(name, "/")
		content = fmt.Sprintf("package %s\n\n%s\n", strings.ReplaceAll(parts[max(0, len(parts)-2)], ".go", ""), content)
	}
	fsys[name] = &fstest.MapFile{Data: []byte(content)}
	tree, err := load(fs.FS(fsys))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
