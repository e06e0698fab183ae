package load

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// Large is the table that FillLarge makes.
const Large = DB + ".large"

// seedRows is how many rows FillLarge writes; the others are copies of them.
const seedRows = 20_000

// FillLarge makes a database with one table of so many rows of some 190 bytes,
// whose keys go from 0 on. The binlog does not have them. It takes either server.
func FillLarge(db *testserver.DB, rows int) (err error) {
	session, err := db.Session()
	if err != nil {
		return err
	}
	defer session.Close()
	exec := func(sql string) {
		if err == nil {
			_, err = session.Exec(sql)
		}
	}
	exec("CREATE DATABASE " + DB)
	exec("CREATE TABLE " + Large + columns)
	exec("SET SESSION sql_log_bin = 0")
	r := rand.New(rand.NewPCG(3, 3))
	for id := 0; id < min(rows, seedRows); {
		var values []string
		for ; len(values) < rowsPerStatement && id < min(rows, seedRows); id++ {
			values = append(values, row(r, id))
		}
		exec("INSERT INTO " + Large + " VALUES " + strings.Join(values, ","))
	}
	for id := seedRows; id < rows; id += seedRows {
		exec(fmt.Sprintf("INSERT INTO %s SELECT id + %d, k, c, pad FROM %s WHERE id < %d", Large, id, Large, min(seedRows, rows-id)))
	}
	exec("ANALYZE TABLE " + Large)
	return err
}
