package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// DB is the database that Create makes.
const DB = "bench"

// tables is how many tables share the rows, each with one writer.
const tables = 4

const (
	rowsPerStatement = 16
	statementsPerTx  = 2 // an insert, and an update of the same rows
)

// columns are those of sysbench's tables.
const columns = " (id BIGINT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL) CHARACTER SET latin1"

// Tables are the names for a configuration.
func Tables() []string {
	names := make([]string, tables)
	for i := range names {
		names[i] = fmt.Sprintf("%s.t%d", DB, i)
	}
	return names
}

// Create makes the database and its empty tables.
func Create(db *testserver.DB) error {
	statements := []string{"CREATE DATABASE " + DB}
	for _, name := range Tables() {
		statements = append(statements, "CREATE TABLE "+name+columns)
	}
	return db.Try(statements...)
}

// Fill commits at least the given number of row changes: transactions of 16
// inserts and 16 updates. A row makes a JSON body of some 430 bytes.
// It returns how many changes it made.
func Fill(db *testserver.DB, rows int) (int, error) {
	perTable := (rows/tables + rowsPerStatement*statementsPerTx - 1) / (rowsPerStatement * statementsPerTx)
	errs := make(chan error, tables)
	var group sync.WaitGroup
	for i := range tables {
		group.Go(func() { errs <- fillTable(db, i, perTable) })
	}
	group.Wait()
	for range tables {
		if err := <-errs; err != nil {
			return 0, err
		}
	}
	return perTable * tables * rowsPerStatement * statementsPerTx, nil
}

func fillTable(db *testserver.DB, table, transactions int) error {
	session, err := db.Session()
	if err != nil {
		return err
	}
	defer session.Close()
	r := rand.New(rand.NewPCG(1, uint64(table)))
	id := 0
	for range transactions {
		var b strings.Builder
		fmt.Fprintf(&b, "INSERT INTO %s.t%d VALUES ", DB, table)
		for i := range rowsPerStatement {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(row(r, id+i))
		}
		update := fmt.Sprintf("UPDATE %s.t%d SET k = k + 1 WHERE id BETWEEN %d AND %d", DB, table, id, id+rowsPerStatement-1)
		for _, sql := range []string{"BEGIN", b.String(), update, "COMMIT"} {
			if _, err := session.Exec(sql); err != nil {
				return err
			}
		}
		id += rowsPerStatement
	}
	return nil
}

// row is the values of a row, as INSERT takes them.
func row(r *rand.Rand, id int) string {
	return fmt.Sprintf("(%d,%d,'%s','%s')", id, r.IntN(1e6), digits(r, 10), digits(r, 5))
}

// digits is groups of eleven digits with dashes between them, as sysbench's rows have.
func digits(r *rand.Rand, groups int) string {
	parts := make([]string, groups)
	for i := range parts {
		parts[i] = fmt.Sprintf("%011d", r.Int64N(1e11))
	}
	return strings.Join(parts, "-")
}

// mixedColumns are one of most kinds of columns, as tables of a shop have them.
const mixedColumns = "id BIGINT UNSIGNED PRIMARY KEY, customer INT UNSIGNED NOT NULL, state ENUM('new','paid','sent') NOT NULL, " +
	"total DECIMAL(12,2) NOT NULL, placed DATETIME(3) NOT NULL, changed TIMESTAMP(6) NULL, email VARCHAR(100) CHARACTER SET utf8mb4, " +
	"note TEXT CHARACTER SET utf8mb4 NULL, doc JSON, ratio DOUBLE NOT NULL, gift TINYINT NOT NULL, token BINARY(16) NOT NULL"

// FillMixed makes one more table, of many types, and commits the given number
// of inserts into it, at least.
func FillMixed(db *testserver.DB, rows int) (int, error) {
	session, err := db.Session()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	if _, err := session.Exec("CREATE TABLE " + DB + ".mixed (" + mixedColumns + ")"); err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(2, 2))
	done := 0
	for done < rows {
		var b strings.Builder
		b.WriteString("INSERT INTO " + DB + ".mixed VALUES ")
		for i := range 100 {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "(%d,%d,'%s',%d.%02d,'2024-%02d-%02d 10:11:12.123','2024-05-06 07:08:09.123456','user%d@example.org',%s,'{\"n\": %d, \"tags\": [\"a\", \"b\"], \"open\": true}',%g,%d,X'%016x%016x')",
				done+i, r.IntN(1e6), []string{"new", "paid", "sent"}[r.IntN(3)], r.IntN(1e6), r.IntN(100), 1+r.IntN(12), 1+r.IntN(28),
				r.IntN(1e6), []string{"NULL", "'please ring twice, grüße'"}[r.IntN(2)], r.IntN(1e6), r.Float64(), r.IntN(2), r.Uint64(), r.Uint64())
		}
		if _, err := session.Exec(b.String()); err != nil {
			return 0, err
		}
		done += 100
	}
	return done, nil
}
