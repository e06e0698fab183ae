package mysql

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// written are statements by hand; one that a server refuses does not count there.
func written() []string {
	return []string{
		"CREATE DATABASE e CHARACTER SET latin1",
		"CREATE DATABASE IF NOT EXISTS e CHARACTER SET utf8mb4",
		"CREATE TABLE e.dflt (a CHAR, b VARCHAR(3), c TEXT(100), d TEXT(70000), e ENUM('a ','b'), f CHAR(9) BYTE, g TINYTEXT, h CHAR BINARY)",
		"ALTER TABLE e.dflt CONVERT TO CHARACTER SET utf8mb4, ADD z TEXT",
		"ALTER DATABASE e COLLATE utf8mb4_bin",
		"CREATE TABLE e.dflt2 (a CHAR(2), b TEXT(255)) COMMENT='x charset=latin1'",
		"CREATE TABLE num (a INT, b INT(5) ZEROFILL, c TINYINT(1), d TINYINT(1) UNSIGNED, e BIGINT UNSIGNED, f BOOL, g BOOLEAN, h INT1, i INT2 UNSIGNED, j MIDDLEINT, k INT4, l INT8, m INTEGER SIGNED, n SMALLINT ZEROFILL)",
		"CREATE TABLE dec_ (a DEC, b DECIMAL(5), c NUMERIC(7,3) UNSIGNED, d FIXED(9,2) ZEROFILL, e FLOAT, f FLOAT(24), g FLOAT(25), h FLOAT(7,3), i DOUBLE, j DOUBLE PRECISION UNSIGNED, k REAL, l FLOAT4, m FLOAT8, n DOUBLE(9,1), o DECIMAL(0))",
		"CREATE TABLE txt (a NCHAR, b NCHAR(4), c NATIONAL CHAR(3), d NATIONAL VARCHAR(3), e NVARCHAR(9), f NCHAR VARYING(3), g NATIONAL CHARACTER VARYING(3), h CHARACTER VARYING(3), i CHAR(3) ASCII, j CHAR(3) UNICODE, k LONG, l LONG VARCHAR, m LONG VARBINARY, n MEDIUMBLOB, o BLOB(70000), p BLOB(10), q VARBINARY(9), r BINARY, s BINARY(3), t LONGTEXT, u TEXT CHARACTER SET binary, v VARCHAR(9) CHARSET 'latin1' COLLATE latin1_bin, w CHAR(1) COLLATE utf8mb4_bin, x TEXT COLLATE latin1_swedish_ci)",
		"CREATE TABLE tim (a TIME, b TIME(3), c DATETIME(0), d DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), e TIMESTAMP NULL, f TIMESTAMP(3) NOT NULL DEFAULT NOW(3), g YEAR, h YEAR(4), i DATE DEFAULT '2000-01-01', j BIT, k BIT(9) DEFAULT b'101', l DATE DEFAULT DATE'2001-02-03')",
		"CREATE TABLE geo (a GEOMETRY, b POINT NOT NULL, c LINESTRING, d POLYGON, e MULTIPOINT, f MULTILINESTRING, g MULTIPOLYGON, h GEOMETRYCOLLECTION, j JSON, SPATIAL INDEX (b))",
		"CREATE TABLE geo2 (a POINT SRID 4326 NOT NULL, b GEOMCOLLECTION, v VECTOR, w VECTOR(3))",
		"CREATE TABLE mar (a UUID, b INET4, c INET6, d VARCHAR(10) COMPRESSED, e TEXT COMPRESSED, f BLOB COMPRESSED=zlib, g INT INVISIBLE, h INT DEFAULT (1+2))",
		"CREATE TABLE mar2 (a INT, h INT DEFAULT 7 CHECK (h <> 3), g CHAR(3) DEFAULT CONCAT('a', 'b'), f DOUBLE DEFAULT 1e3, CHECK (a <> 5)) PAGE_CHECKSUM=1",
		`CREATE TABLE lab (a ENUM('a','b''c','d\'e','f\\g','h\ni','','ä'), b SET('x','y ','z\tz'), c ENUM(x'61',0x62), d ENUM("q","r""s") CHARACTER SET latin1 NOT NULL)`,
		"CREATE TABLE keys1 (a INT NOT NULL, b INT NOT NULL, c INT, d VARCHAR(9) NOT NULL, UNIQUE (c), UNIQUE KEY zz (b), UNIQUE INDEX aa USING BTREE (a), UNIQUE (d(3)), KEY (c, a), UNIQUE (c, b))",
		"ALTER TABLE keys1 DROP KEY zz, ADD CONSTRAINT foo UNIQUE (b, a), RENAME INDEX c TO cc",
		"ALTER TABLE keys1 MODIFY c INT NOT NULL",
		"ALTER TABLE keys1 DROP INDEX aa, ADD UNIQUE (c)",
		"DROP INDEX foo ON keys1",
		"CREATE UNIQUE INDEX idx USING BTREE ON keys1 (a DESC, b ASC) COMMENT 'x'",
		"ALTER TABLE keys1 ADD PRIMARY KEY (b, a)",
		"ALTER TABLE keys1 DROP PRIMARY KEY, ADD COLUMN id INT AUTO_INCREMENT PRIMARY KEY FIRST",
		"ALTER TABLE keys1 DROP COLUMN c",
		"ALTER TABLE keys1 RENAME COLUMN a TO aaa",
		"ALTER TABLE keys1 CHANGE aaa a BIGINT NOT NULL COMMENT 'it''s, ok)' AFTER d, ALGORITHM=COPY, LOCK=SHARED",
		"CREATE TABLE ser (id SERIAL, x INT DEFAULT -1, y INT DEFAULT +2, z DECIMAL(5,2) DEFAULT 1.5, f DOUBLE DEFAULT 1e-3, s CHAR(3) DEFAULT _latin1'abc', n CHAR(3) DEFAULT N'x')",
		"CREATE TABLE ser2 (x INT SERIAL DEFAULT VALUE, y INT UNIQUE, z INT COMMENT 'a' NOT NULL UNIQUE KEY)",
		"CREATE TABLE gen (a INT, b INT AS (a + 1), c INT GENERATED ALWAYS AS (a * (2 + 3)) STORED, d VARCHAR(10) AS (CONCAT('x,)', a)) VIRTUAL, KEY (b))",
		"CREATE TABLE gen2 (a INT, b INT AS (a + 1) VIRTUAL NOT NULL, c INT INVISIBLE, KEY ((a + 1)), UNIQUE KEY f ((a * 2), a), PRIMARY KEY (c))",
		"CREATE TABLE par (id INT PRIMARY KEY, p TEXT) /*!50100 PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10) COMMENT='a', PARTITION p1 VALUES LESS THAN MAXVALUE) */",
		"ALTER TABLE par REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (20), PARTITION p2 VALUES LESS THAN MAXVALUE)",
		"ALTER TABLE par DROP PARTITION p0", "ALTER TABLE par TRUNCATE PARTITION p1", "ALTER TABLE par ANALYZE PARTITION ALL", "ALTER TABLE par REMOVE PARTITIONING",
		"ALTER TABLE par ADD COLUMN (q INT, r INT DEFAULT 5), ADD s INT AFTER id, DROP p",
		"CREATE TABLE fk (id INT PRIMARY KEY, parent INT, other INT REFERENCES par (id), CONSTRAINT fk1 FOREIGN KEY (parent) REFERENCES fk (id) ON DELETE SET NULL ON UPDATE CASCADE, CONSTRAINT CHECK (id > 0), CONSTRAINT c2 CHECK (parent > 0))",
		"CREATE TABLE fk (id INT PRIMARY KEY, parent INT, CONSTRAINT fk1 FOREIGN KEY (parent) REFERENCES fk (id) ON DELETE SET NULL, CONSTRAINT c2 CHECK (parent > 0))",
		"ALTER TABLE fk DROP FOREIGN KEY fk1, DROP CONSTRAINT c2",
		"CREATE TABLE li LIKE keys1", "CREATE TABLE IF NOT EXISTS li LIKE num", "CREATE TABLE li2 (LIKE lab)",
		"CREATE TABLE ctas AS SELECT * FROM num", "CREATE TABLE ctas2 (k INT PRIMARY KEY, j CHAR(3)) IGNORE SELECT 1 AS k, 'a' AS j, NOW(3) AS t, 5 / 3 AS q",
		"RENAME TABLE li TO li3, li2 TO li, li3 TO li2", "ALTER TABLE li RENAME TO e.moved", "ALTER TABLE e.moved RENAME d.li, ADD zzz INT",
		"CREATE OR REPLACE TABLE li (only_ INT)", "CREATE TABLE IF NOT EXISTS li (nope INT)",
		"ALTER TABLE li ADD COLUMN IF NOT EXISTS only_ INT, ADD COLUMN IF NOT EXISTS two INT, DROP COLUMN IF EXISTS three, MODIFY IF EXISTS four INT",
		"ALTER TABLE dec_ ENGINE=InnoDB ROW_FORMAT=DYNAMIC, COMMENT 'x', AUTO_INCREMENT 7", "ALTER TABLE dec_ FORCE", "ALTER TABLE dec_ ORDER BY a, b DESC, c",
		"ALTER TABLE dec_ ALTER COLUMN a SET DEFAULT 5, ALTER b DROP DEFAULT, ALTER c SET DEFAULT (1+1)", "ALTER TABLE dec_ DEFAULT CHARACTER SET latin1 COLLATE latin1_bin, ADD t TEXT, ADD u VARCHAR(5)",
		"ALTER TABLE dec_ DEFAULT COLLATE = utf8mb4_bin", "ALTER TABLE dec_ ADD v TINYTEXT, ADD w ENUM('a')", "ALTER TABLE txt CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		"ALTER TABLE num RENAME COLUMN a TO b, RENAME COLUMN b TO a", "ALTER TABLE num MODIFY c INT AFTER e, CHANGE d dd INT FIRST, ADD d INT AFTER dd, DROP i",
		"ALTER TABLE num ADD n1 INT, ADD n2 INT AFTER n1, MODIFY n INT FIRST",
		"/* c */ ALTER /* c */ TABLE `num` -- x\n ADD `we``ird,(` INT # y\n, ADD `order` INT, ADD `period` INT, ADD `key` INT /*!99999 , ADD never INT */ /*M! , ADD maria INT */ /*!50600 , ADD old INT */",
		"DROP TABLE IF EXISTS nope, num", "TRUNCATE TABLE dec_", "CREATE VIEW v AS SELECT 1", "DROP VIEW v", "ANALYZE TABLE dec_", "CREATE TEMPORARY TABLE tmp (a INT)", "CREATE TRIGGER tr BEFORE INSERT ON dec_ FOR EACH ROW SET NEW.a = 1", "DROP TRIGGER tr",
		"CREATE TABLE json_ (a JSON NOT NULL, b JSON DEFAULT NULL, c INT CHECK (c > 0), d JSON COMMENT 'j')", "ALTER TABLE json_ CONVERT TO CHARACTER SET latin1",
		"DROP DATABASE e", "CREATE TABLE wide (a VARCHAR(16000), b INT) CHARSET utf8mb4", "ALTER TABLE wide CHARSET latin1, MODIFY a VARCHAR(16000) CHARACTER SET latin1",
	}
}

// doubtful are tables, and statements about them of which it depends on the
// server what they do: none may be taken as understood.
func doubtful() [][2]string {
	return [][2]string{
		{"CREATE TABLE doubt (f INT NOT NULL, a ENUM('a','b''') CHARSET latin1 NOT NULL, PRIMARY KEY (f, a))", "ALTER TABLE doubt MODIFY a VARCHAR(10) NOT NULL UNIQUE FIRST"},
		{"CREATE TABLE doubt (a SET('a','bc') CHARSET latin1 NOT NULL UNIQUE)", "ALTER TABLE doubt CHANGE a b CHAR(10) CHARSET latin1 NOT NULL"},
		{"CREATE TABLE doubt (a ENUM('ab','bc') CHARSET latin1 NOT NULL UNIQUE)", "ALTER TABLE doubt MODIFY a VARBINARY(10) NOT NULL"},
		{"CREATE TABLE doubt (a VARCHAR(10)) CHARSET latin1", "ALTER TABLE doubt CONVERT TO CHARACTER SET utf8mb4, CHANGE a b TEXT"},
		{"CREATE TABLE doubt (a VARCHAR(20) NOT NULL, UNIQUE (a(4)))", "ALTER TABLE doubt MODIFY a VARCHAR(3) NOT NULL"},
	}
}

// inSessions are statements under settings of their own.
func inSessions() [][]string {
	return [][]string{
		{"SET sql_mode='ANSI_QUOTES,REAL_AS_FLOAT'", "CREATE TABLE ansi (\"x y\" REAL, `z` VARCHAR(9) DEFAULT 'a\"b', \"k\" ENUM('p\"q'))"},
		{"SET sql_mode='NO_BACKSLASH_ESCAPES'", `CREATE TABLE nobs (a ENUM('x','y z'), b INT COMMENT '\')`},
		{"SET sql_mode=''", "CREATE TABLE loose (a VARCHAR(70000), b VARBINARY(70000), c VARCHAR(20000) CHARACTER SET utf8mb4, d VARCHAR(16000000) CHARSET latin1)"},
		{"SET NAMES latin1", "CREATE TABLE `t\xe4` (`c\xe4` INT, e ENUM('\xe4\xf6'))"},
		{"SET sql_generate_invisible_primary_key=1", "CREATE TABLE gipk (a INT)", "ALTER TABLE gipk ADD b INT FIRST", "CREATE TABLE gipk2 AS SELECT 1 AS x", "CREATE TABLE gipk3 LIKE gipk"},
		{"SET @@explicit_defaults_for_timestamp=0", "CREATE TABLE ts (a TIMESTAMP, b TIMESTAMP NULL)"},
		{"SET collation_server=latin1_swedish_ci", "CREATE DATABASE f", "CREATE TABLE f.t (a TEXT, b CHAR(3))", "USE f", "CREATE TABLE u (a CHAR)", "ALTER DATABASE CHARACTER SET utf8mb3", "CREATE TABLE w (a CHAR)"},
	}
}

// generator makes statements about a few tables with a few columns, so that
// they meet.
type generator struct{ r *rand.Rand }

func (g *generator) one(list ...string) string { return list[g.r.IntN(len(list))] }

func (g *generator) table() string { return g.one("t1", "t2", "`T 3`") }

func (g *generator) column() string { return g.one("a", "b", "c", "`d`", "E", "f") }

func (g *generator) typ() string {
	charset := g.one("", "", " CHARACTER SET latin1", " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", " COLLATE latin1_bin", " CHARSET utf8mb3")
	n := 1 + g.r.IntN(40)
	switch g.r.IntN(8) {
	case 0, 1:
		return g.one("INT", "TINYINT(1)", "BIGINT", "SMALLINT(4)", "MEDIUMINT", "DECIMAL(9,3)", "DOUBLE", "FLOAT(9,2)") + g.one("", "", " UNSIGNED", " ZEROFILL")
	case 2:
		return fmt.Sprintf("VARCHAR(%d)%s", n, charset)
	case 3:
		return fmt.Sprintf("CHAR(%d)%s", n, charset)
	case 4:
		return g.one("TEXT", "TINYTEXT", "MEDIUMTEXT", "TEXT(90)", "LONGTEXT") + charset
	case 5:
		return g.one("ENUM('a','b''')", "SET('x','y','ö')", "ENUM('é ')") + charset
	case 6:
		return g.one("BLOB", "VARBINARY(9)", "BINARY(4)", "JSON", "BIT(5)", "DATE", "TIME(2)", "DATETIME(6)", "YEAR", "TIMESTAMP NULL", "TIMESTAMP(3) NULL")
	}
	return g.one("INT", "VARCHAR(10)") + " NOT NULL" + g.one("", " UNIQUE", " PRIMARY KEY", " COMMENT 'x,y)'")
}

func (g *generator) def() string {
	return g.typ() + g.one("", "", "", " NOT NULL", " NULL", " COMMENT 'it''s'")
}

func (g *generator) key() string {
	cols := g.column()
	if g.r.IntN(2) == 0 {
		cols += ", " + g.column()
	}
	return g.one("PRIMARY KEY", "UNIQUE", "UNIQUE KEY k1", "UNIQUE INDEX k2", "KEY", "INDEX k3", "CONSTRAINT k4 UNIQUE") + " (" + cols + ")"
}

func (g *generator) clause() string {
	place := g.one("", "", " FIRST", " AFTER "+g.column())
	switch g.r.IntN(12) {
	case 0, 1:
		return "ADD " + g.one("", "COLUMN ") + g.column() + " " + g.def() + place
	case 2:
		return "DROP " + g.one("", "COLUMN ") + g.column()
	case 3, 4:
		return "MODIFY " + g.column() + " " + g.def() + place
	case 5:
		return "CHANGE " + g.column() + " " + g.column() + " " + g.def() + place
	case 6:
		return "RENAME COLUMN " + g.column() + " TO " + g.column()
	case 7:
		return "ADD " + g.key()
	case 8:
		return g.one("DROP PRIMARY KEY", "DROP KEY k1", "DROP INDEX a", "DROP INDEX b_2", "DROP INDEX k2", "RENAME INDEX k1 TO k2")
	case 9:
		return g.one("CONVERT TO CHARACTER SET latin1", "CONVERT TO CHARACTER SET utf8mb4", "DEFAULT CHARSET utf8mb3", "COLLATE latin1_bin")
	case 10:
		return g.one("ENGINE=InnoDB", "COMMENT 'c'", "FORCE", "ALGORITHM=COPY", "ALTER a SET DEFAULT 1", "ROW_FORMAT=COMPACT")
	}
	return "RENAME " + g.one("TO ", "AS ", "") + g.table()
}

func (g *generator) statement() string {
	switch g.r.IntN(10) {
	case 0, 1:
		var list []string
		for range 1 + g.r.IntN(4) {
			list = append(list, g.column()+" "+g.def())
		}
		if g.r.IntN(2) == 0 {
			list = append(list, g.key())
		}
		return "CREATE TABLE " + g.one("", "IF NOT EXISTS ") + g.table() + " (" + strings.Join(list, ", ") + ")" +
			g.one("", " DEFAULT CHARSET=latin1", " COLLATE utf8mb4_bin ENGINE=InnoDB")
	case 2:
		return g.one("DROP TABLE "+g.table(), "CREATE TABLE "+g.table()+" LIKE "+g.table(),
			"RENAME TABLE t1 TO x, t2 TO t1, x TO t2", "RENAME TABLE "+g.table()+" TO "+g.table())
	}
	var list []string
	for range 1 + g.r.IntN(3) {
		list = append(list, g.clause())
	}
	return "ALTER TABLE " + g.table() + " " + strings.Join(list, ", ")
}
