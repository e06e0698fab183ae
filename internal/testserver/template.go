package testserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// initSQL gives MySQL's root an account over TCP; mariadb-install-db does so by itself.
const initSQL = `CREATE USER root@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
`

// template returns an initialised data directory to copy, made once for each
// version of the server.
func (inst install) template() (string, error) {
	return cached(inst.flavor+"-"+inst.version, func(partial string) error {
		if inst.flavor == FlavorMariaDB {
			return inst.initMariaDB(partial)
		}
		return inst.initMySQL(partial)
	})
}

func (inst install) initMariaDB(dir string) error {
	return run(append([]string{inst.initdb, "--no-defaults", "--force", "--skip-name-resolve", "--skip-test-db",
		"--auth-root-authentication-method=normal", "--innodb-log-file-size=8M", "--datadir=" + dir}, asRoot()...)...)
}

func (inst install) initMySQL(dir string) error {
	script := dir + ".sql"
	if err := os.WriteFile(script, []byte(initSQL), 0o644); err != nil {
		return fmt.Errorf("write init script: %w", err)
	}
	args := append(inst.argv, "--initialize-insecure", "--datadir="+dir, "--init-file="+script,
		"--innodb-redo-log-capacity=64M", "--performance-schema=OFF")
	if err := run(append(args, asRoot()...)...); err != nil {
		return errors.Join(err, os.Remove(script))
	}
	// auto.cnf holds the server's UUID, which every copy must draw anew: two
	// servers with one UUID would write the same GTIDs.
	return errors.Join(os.Remove(script), os.Remove(filepath.Join(dir, "auto.cnf")))
}
