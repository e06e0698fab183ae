package testserver

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// install is a database server that is present on this machine.
type install struct {
	flavor  string
	version string   // changes whenever the executable does; names the template
	argv    []string // how to run it, up to its first option
	initdb  string   // MariaDB only: mariadb-install-db
}

// errMissing says that a server is not on this machine, and how to get it.
var errMissing = errors.New("not on this machine; run `make servers`")

// Missing ends the test for want of a server: loudly skipped on a developer's
// machine, failed where every server is required.
func Missing(t testing.TB, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("CDCD_TEST_REQUIRE_SERVERS") == "1" {
		t.Fatalf("%s is required here: %v", what, err)
	}
	t.Skipf("\n*** SKIPPED: %s: %v\n*** This test proves nothing until then.", what, err)
}

// notShort skips the test under `go test -short`, which starts no servers.
func notShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a server, and -short starts none")
	}
}

// findMySQL looks for MySQL where `make servers` and a developer put it.
func findMySQL() (install, error) {
	if path := os.Getenv("CDCD_TEST_MYSQLD"); path != "" {
		return mysqlAt(path)
	}
	for _, dir := range serverDirs() {
		if root := filepath.Join(dir, "mysql"); exists(filepath.Join(root, "usr/sbin/mysqld")) {
			return unpackedMySQL(root)
		}
	}
	path, err := exec.LookPath("mysqld")
	if err != nil {
		return install{}, errMissing
	}
	if err := recentMySQL(path); err != nil {
		return install{}, errors.Join(err, errMissing)
	}
	return mysqlAt(path)
}

// mysqlAt takes an executable, or the root of an unpacked system that has one.
func mysqlAt(path string) (install, error) {
	if info, err := os.Stat(path); err != nil {
		return install{}, fmt.Errorf("look for mysqld: %w", err)
	} else if info.IsDir() {
		return unpackedMySQL(path)
	}
	return install{flavor: FlavorMySQL, version: fingerprint(path), argv: []string{path, "--no-defaults"}}, nil
}

// unpackedMySQL runs mysqld out of an unpacked Debian system through that
// system's own dynamic linker and libraries. No chroot is needed, so the server
// needs no root and its data may lie anywhere.
func unpackedMySQL(root string) (install, error) {
	mysqld := filepath.Join(root, "usr/sbin/mysqld")
	linker := firstMatch(root, "lib64/ld-linux-*.so.*", "lib/ld-linux-*.so.*", "usr/lib64/ld-linux-*.so.*")
	libs := firstMatch(root, "usr/lib/*-linux-gnu")
	if linker == "" || libs == "" {
		return install{}, fmt.Errorf("%s has no dynamic linker or no libraries: remove it and run `make servers`", root)
	}
	return install{
		flavor:  FlavorMySQL,
		version: fingerprint(mysqld),
		argv: []string{linker, "--inhibit-cache", "--library-path", libs, mysqld,
			"--no-defaults", "--basedir=" + filepath.Join(root, "usr")},
	}, nil
}

// recentMySQL refuses MariaDB under MySQL's name, and MySQL before 8.4.
func recentMySQL(path string) error {
	out, err := exec.Command(path, "--no-defaults", "--version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version := regexp.MustCompile(`Ver (\d+)\.(\d+)\.`).FindStringSubmatch(string(out))
	if version == nil || strings.Contains(string(out), "MariaDB") {
		return fmt.Errorf("%s is not MySQL", path)
	}
	major, _ := strconv.Atoi(version[1])
	minor, _ := strconv.Atoi(version[2])
	if major < 8 || major == 8 && minor < 4 {
		return fmt.Errorf("%s is MySQL %d.%d, older than 8.4", path, major, minor)
	}
	return nil
}

// findMariaDB looks for MariaDB and the script that initialises it.
func findMariaDB() (install, error) {
	path := os.Getenv("CDCD_TEST_MARIADBD")
	if path == "" {
		path = lookPath("mariadbd")
	}
	if path == "" {
		return install{}, errMissing
	}
	if !exists(path) {
		return install{}, fmt.Errorf("look for mariadbd: there is no %s", path)
	}
	prefix := filepath.Dir(filepath.Dir(path))
	initdb := firstMatch(prefix, "bin/mariadb-install-db", "scripts/mariadb-install-db")
	if initdb == "" {
		initdb = lookPath("mariadb-install-db")
	}
	if initdb == "" {
		return install{}, fmt.Errorf("mariadb-install-db is missing beside %s", path)
	}
	inst := install{
		flavor:  FlavorMariaDB,
		version: fingerprint(path),
		argv:    []string{path, "--no-defaults"},
		initdb:  initdb,
	}
	if plugins := unpackedMariaDB("plugin"); plugins != "" {
		inst.argv = append(inst.argv, "--plugin-dir="+plugins)
	}
	return inst, nil
}

// unpackedMariaDB returns where something is that `make servers` unpacked beside a
// MariaDB without it, else "". Another MariaDB than the system's has its own.
func unpackedMariaDB(name string) string {
	if os.Getenv("CDCD_TEST_MARIADBD") != "" {
		return ""
	}
	for _, dir := range serverDirs() {
		if path := filepath.Join(dir, "mariadb", name); exists(path) {
			return path
		}
	}
	return ""
}

// lookPath also looks where Debian keeps servers, which a user's PATH leaves out.
func lookPath(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return firstMatch("/", "usr/sbin/"+name, "usr/local/sbin/"+name)
}

func firstMatch(root string, patterns ...string) string {
	for _, pattern := range patterns {
		// Glob fails only on a malformed pattern, and these are constants.
		if found, _ := filepath.Glob(filepath.Join(root, pattern)); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// fingerprint changes when the executable is replaced, without running it.
func fingerprint(path string) string {
	sum := fnv.New64a()
	fmt.Fprint(sum, path)
	if info, err := os.Stat(path); err == nil {
		fmt.Fprint(sum, info.Size(), info.ModTime().UnixNano())
	}
	return strconv.FormatUint(sum.Sum64(), 36)
}

// serverDirs are the places of unpacked servers: the one that is named, this
// checkout's, and for a git worktree the main checkout's, which all share.
func serverDirs() []string {
	var dirs []string
	if dir := os.Getenv("CDCD_TEST_SERVERS"); dir != "" {
		dirs = append(dirs, dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return dirs
	}
	dirs = append(dirs, filepath.Join(root, ".servers"))
	if common := gitCommonDir(root); common != "" {
		dirs = append(dirs, filepath.Join(filepath.Dir(common), ".servers"))
	}
	return dirs
}

// gitCommonDir returns the main checkout's .git for a worktree's root, else "".
func gitCommonDir(root string) string {
	text, err := os.ReadFile(filepath.Join(root, ".git"))
	if err != nil {
		return "" // a main checkout's .git is a directory
	}
	gitDir, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return ""
	}
	common, err := os.ReadFile(filepath.Join(gitDir, "commondir"))
	if err != nil {
		return ""
	}
	if path := strings.TrimSpace(string(common)); filepath.IsAbs(path) {
		return path
	} else {
		return filepath.Join(gitDir, path)
	}
}

// moduleRoot is the directory of go.mod above the test's working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module root: %w", err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find module root: no go.mod above the working directory")
		}
		dir = parent
	}
	return dir, nil
}
