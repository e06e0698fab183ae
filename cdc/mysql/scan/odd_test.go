package scan_test

import (
	"fmt"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// oddTables are definitions with columns that a SELECT does not show by itself,
// or that the log does not have as one would think.
func oddTables(flavor string) []string {
	list := []string{
		"(id INT PRIMARY KEY, v INT AS (id + 1) VIRTUAL, s VARCHAR(20) AS (CONCAT('x', id)) STORED)",
		"(id INT PRIMARY KEY, v VARCHAR(20) INVISIBLE DEFAULT 'hidden', w INT NOT NULL DEFAULT 5)",
		"(`a``b` INT PRIMARY KEY, `select` VARCHAR(20) DEFAULT 'x', `ü 漢` INT DEFAULT 7)",
		"(id INT, v INT NOT NULL DEFAULT 3, UNIQUE KEY u (id))",
		"(id INT NOT NULL, v INT NOT NULL DEFAULT 3, UNIQUE KEY u (id))",
		"(v INT DEFAULT 1, id INT NOT NULL, c CHAR(3) NOT NULL DEFAULT 'ab', PRIMARY KEY (c, id))",
		"(id INT UNSIGNED ZEROFILL PRIMARY KEY, d DECIMAL(8,3) ZEROFILL DEFAULT 1.5, f DOUBLE ZEROFILL DEFAULT 2, y SMALLINT(3) ZEROFILL DEFAULT 3)",
		"(id INT PRIMARY KEY, f FLOAT(7,3) DEFAULT 1.1, d DOUBLE(10,2) DEFAULT 2.345, c CHAR(0) DEFAULT '', b BINARY(0) DEFAULT '')",
		"(id INT PRIMARY KEY, c CHAR(10) CHARACTER SET ucs2 DEFAULT 'ab ', t TEXT CHARACTER SET utf16)",
		"(id INT PRIMARY KEY, v INT DEFAULT 1) PARTITION BY HASH (id) PARTITIONS 3",
		"(id INT PRIMARY KEY, ts TIMESTAMP(3) NULL DEFAULT '2026-11-21 10:11:12.345', dt DATETIME(2) DEFAULT '2026-11-21 10:11:12.345')",
	}
	if flavor == testserverMySQL {
		return append(list, "(id INT PRIMARY KEY, v VARCHAR(20) DEFAULT 'Ab', INDEX ((LOWER(v))))",
			"(id INT PRIMARY KEY, doc JSON DEFAULT ('[3, 1]'), INDEX ((CAST(doc AS UNSIGNED ARRAY))))",
			"(id INT PRIMARY KEY, v VARCHAR(20) DEFAULT 'x', INDEX (id DESC))")
	}
	return append(list, "(id INT PRIMARY KEY, v TEXT DEFAULT 'long', UNIQUE KEY (v))",
		"(id INT PRIMARY KEY, t TEXT COMPRESSED DEFAULT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', v VARBINARY(200) COMPRESSED DEFAULT 'b')")
}

// TestOddTables: schema and bytes are the log's, whatever the definition is like.
func TestOddTables(t *testing.T) {
	for _, metadata := range []string{"FULL", "MINIMAL"} {
		t.Run(metadata, func(t *testing.T) {
			testserver.Each(t, func(t *testing.T, db *testserver.DB) {
				do := session(t, db)
				do("CREATE DATABASE d CHARACTER SET utf8mb4", "USE d", "SET NAMES utf8mb4", "SET sql_mode = '', time_zone = '+00:00'")
				defs := oddTables(db.Flavor)
				for i, def := range defs {
					key := "id"
					if i == 2 {
						key = "`a``b`"
					}
					do(fmt.Sprintf("CREATE TABLE o%d %s", i, def), fmt.Sprintf("INSERT INTO o%d (%s) VALUES (1)", i, key))
				}
				gipk := db.Flavor == testserverMySQL
				rows := len(defs)
				if gipk {
					do("SET sql_generate_invisible_primary_key = ON", "CREATE TABLE gipk (v INT)", "INSERT INTO gipk VALUES (4)")
					rows++
				}
				schemas, images := logged(t, db, rows)
				c := connect(t, db)
				check := func(name, def string) {
					t.Helper()
					tab := plan(t, c, name, scan.TableOptions{})
					if got, want := tab.Schema.Fingerprint(), schemas[name].Fingerprint(); got != want {
						t.Errorf("%s: the schema is\n%+v, the log has\n%+v", def, tab.Schema, schemas[name])
						return
					}
					compare(t, def, images[name], scanned(t, c, tab, 1))
				}
				for i, def := range defs {
					check(fmt.Sprintf("o%d", i), def)
				}
				if gipk {
					check("gipk", "a generated primary key")
				}
			}, testserver.Args("--binlog-row-metadata="+metadata))
		})
	}
}
