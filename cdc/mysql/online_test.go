package mysql

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The statements of tools that change large tables while they are in use, with a
// change of the table between any two of them, as its users make. %s takes the
// row's number.
var onlineChanges = map[string][]string{
	// gh-ost: a ghost table, filled from the table and from its own reading of the
	// log, and swapped in by one atomic RENAME under a lock.
	"gh-ost": {
		"DROP TABLE IF EXISTS shop._orders_gho", "DROP TABLE IF EXISTS shop._orders_ghc",
		"CREATE /* gh-ost */ TABLE shop._orders_ghc (id BIGINT UNSIGNED auto_increment, last_update TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, " +
			"hint VARCHAR(64) CHARSET ascii NOT NULL, value VARCHAR(4096) CHARSET ascii NOT NULL, PRIMARY KEY(id), UNIQUE KEY hint_uidx(hint)) auto_increment=256 comment='gh-ost changelog'",
		"CREATE /* gh-ost */ TABLE shop._orders_gho LIKE shop.orders",
		"ALTER /* gh-ost */ TABLE shop._orders_gho ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id, CHANGE note remark VARCHAR(40)",
		"INSERT /* gh-ost */ IGNORE INTO shop._orders_gho (id, qty, remark) SELECT id, qty, note FROM shop.orders",
		"REPLACE /* gh-ost */ INTO shop._orders_gho (id, qty, remark) SELECT id, qty, note FROM shop.orders",
		"CREATE /* gh-ost */ TABLE shop._orders_del (id INT AUTO_INCREMENT PRIMARY KEY) comment='ghost-cut-over-sentry'",
		"REPLACE INTO shop._orders_gho (id, qty, remark) SELECT id, qty, note FROM shop.orders",
		"DROP TABLE IF EXISTS shop._orders_del",
		"RENAME /* gh-ost */ TABLE shop.orders TO shop._orders_del, shop._orders_gho TO shop.orders",
		"DROP /* gh-ost */ TABLE IF EXISTS shop._orders_ghc", "DROP /* gh-ost */ TABLE IF EXISTS shop._orders_del",
	},
	// pt-online-schema-change: a new table, filled in chunks and by triggers.
	"pt-osc": {
		"CREATE TABLE `shop`.`_orders_new` LIKE `shop`.`orders`",
		"ALTER TABLE `shop`.`_orders_new` ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id, CHANGE note remark VARCHAR(40)",
		"CREATE TRIGGER `shop`.`pt_osc_shop_orders_del` AFTER DELETE ON `shop`.`orders` FOR EACH ROW DELETE IGNORE FROM `shop`.`_orders_new` WHERE `shop`.`_orders_new`.`id` <=> OLD.`id`",
		"CREATE TRIGGER `shop`.`pt_osc_shop_orders_upd` AFTER UPDATE ON `shop`.`orders` FOR EACH ROW BEGIN DELETE IGNORE FROM `shop`.`_orders_new` WHERE !(OLD.`id` <=> NEW.`id`) AND `shop`.`_orders_new`.`id` <=> OLD.`id`; " +
			"REPLACE INTO `shop`.`_orders_new` (`id`, `qty`, `remark`) VALUES (NEW.`id`, NEW.`qty`, NEW.`note`); END",
		"CREATE TRIGGER `shop`.`pt_osc_shop_orders_ins` AFTER INSERT ON `shop`.`orders` FOR EACH ROW REPLACE INTO `shop`.`_orders_new` (`id`, `qty`, `remark`) VALUES (NEW.`id`, NEW.`qty`, NEW.`note`)",
		"INSERT LOW_PRIORITY IGNORE INTO `shop`.`_orders_new` (`id`, `qty`, `remark`) SELECT `id`, `qty`, `note` FROM `shop`.`orders` LOCK IN SHARE MODE /*pt-online-schema-change 7 copy table*/",
		"ANALYZE TABLE `shop`.`_orders_new` /* pt-online-schema-change */",
		"RENAME TABLE `shop`.`orders` TO `shop`.`_orders_old`, `shop`.`_orders_new` TO `shop`.`orders`",
		"DROP TABLE IF EXISTS `shop`.`_orders_old`",
		"DROP TRIGGER IF EXISTS `shop`.`pt_osc_shop_orders_del`", "DROP TRIGGER IF EXISTS `shop`.`pt_osc_shop_orders_upd`", "DROP TRIGGER IF EXISTS `shop`.`pt_osc_shop_orders_ins`",
	},
	// By hand: the table is renamed away, and another comes in its place.
	"by hand": {
		"CREATE TABLE shop.next LIKE shop.orders",
		"ALTER TABLE shop.next ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id, RENAME COLUMN note TO remark",
		"INSERT INTO shop.next SELECT id, 7, qty, note FROM shop.orders",
		"RENAME TABLE shop.orders TO shop.last, shop.next TO shop.orders",
		"DROP TABLE shop.last",
	},
}

// TestOnlineSchemaChange: the rows of the followed table come by the definition
// of their time, those of the tools' tables never, and so they do when all is
// read again later, from the beginning and from places between.
func TestOnlineSchemaChange(t *testing.T) {
	run := func(t *testing.T, db *testserver.DB, statements []string) {
		fresh(t, db)
		db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY, qty INT UNSIGNED, note VARCHAR(20)) CHARACTER SET latin1")
		st := &store{}
		keep := func(_ *Config, e *cdc.Env) { e.Schemas = st }
		from := initial(t, open(t, db, keep))
		s := start(t, open(t, db, keep), from)
		var want []string
		n := 0
		change := func() {
			n++
			values, names := fmt.Sprintf("(%d, 4294967295, 'é')", n), `(id=%d qty=4294967295 note="é")`
			if db.Value(t, "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='shop' AND TABLE_NAME='orders'") == "4" {
				values, names = fmt.Sprintf("(%d, 7, 4294967295, 'é')", n), `(id=%d extra=7 qty=4294967295 remark="é")`
			}
			db.Exec(t, "SET NAMES utf8mb4", "INSERT INTO shop.orders VALUES "+values)
			want = append(want, "c shop.orders "+fmt.Sprintf(names, n))
		}
		change()
		for _, sql := range statements {
			db.Exec(t, "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES'", sql)
			change()
		}
		if d := cmp.Diff(want, texts(s.awaitRows(t, len(want)))); d != "" {
			t.Fatal(d)
		}
		batches, _ := s.snapshot()
		s.stop()
		later := open(t, db)
		got, err := cdctest.Read(t, later, from, cdctest.UntilHead(t, later))
		if err != nil {
			t.Fatalf("later: %v", err)
		}
		if d := cmp.Diff(want, texts(cdctest.Rows(got))); d != "" {
			t.Fatalf("later: %s", d)
		}
		for i, b := range batches {
			if i%4 != 1 {
				continue
			}
			again := open(t, db, keep)
			got, err := cdctest.Read(t, again, cdc.Start{Base: b.End}, cdctest.UntilHead(t, again))
			if err != nil {
				t.Fatalf("behind batch %d: %v", i, err)
			}
			list := texts(cdctest.Rows(got))
			if d := cmp.Diff(want[len(want)-len(list):], append([]string{}, list...)); d != "" {
				t.Fatalf("behind batch %d: %s", i, d)
			}
		}
	}
	tools := func(t *testing.T, db *testserver.DB) {
		for tool, statements := range onlineChanges {
			t.Run(tool, func(t *testing.T) { run(t, db, statements) })
		}
	}
	eachDefault(t, tools)
	each(t, tools)
}

// fresh drops what a test made on the server, and begins its log anew.
func fresh(t testing.TB, db *testserver.DB) {
	t.Helper()
	reset := "RESET BINARY LOGS AND GTIDS"
	if db.Flavor == testserver.FlavorMariaDB {
		reset = "RESET MASTER"
	}
	db.Exec(t, "DROP DATABASE IF EXISTS shop", reset)
}
