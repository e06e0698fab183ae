package testserver

import (
	"strconv"
	"testing"
	"time"
)

// Replicate makes db a replica of source, by GTIDs, and returns when it
// replicates. Both need their binary log; db is to be new. What db itself has
// logged so far is forgotten first, so that both have the same history.
func (db *DB) Replicate(t testing.TB, source *DB) {
	t.Helper()
	port := strconv.Itoa(source.Port())
	if db.Flavor == FlavorMariaDB {
		db.Exec(t, "RESET MASTER", "SET GLOBAL gtid_slave_pos=''",
			"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT="+port+", MASTER_USER='root', MASTER_PASSWORD='', "+
				"MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", "START SLAVE")
		return
	}
	db.Exec(t, "RESET BINARY LOGS AND GTIDS",
		"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT="+port+", SOURCE_USER='root', SOURCE_PASSWORD='', "+
			"SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1", "START REPLICA")
}

// CatchUp waits until db, a replica, has all that source has committed.
func (db *DB) CatchUp(t testing.TB, source *DB) {
	t.Helper()
	wait := "SELECT WAIT_FOR_EXECUTED_GTID_SET('" + source.gtids(t) + "', 60)"
	done := "0"
	if db.Flavor == FlavorMariaDB {
		wait = "SELECT MASTER_GTID_WAIT('" + source.gtids(t) + "', 60)"
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if db.Value(t, wait) == done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not catch up; its log:\n%s", db.Flavor, db.LogTail(20))
		}
	}
}

func (db *DB) gtids(t testing.TB) string {
	if db.Flavor == FlavorMariaDB {
		return db.Value(t, "SELECT @@global.gtid_binlog_pos")
	}
	return db.Value(t, "SELECT @@global.gtid_executed")
}

// Promote ends db's being a replica: from now on it is written to.
func (db *DB) Promote(t testing.TB) {
	t.Helper()
	if db.Flavor == FlavorMariaDB {
		db.Exec(t, "STOP SLAVE", "RESET SLAVE ALL")
		return
	}
	db.Exec(t, "STOP REPLICA", "RESET REPLICA ALL")
}
