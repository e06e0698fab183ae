package record

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

var record = flag.Bool("record", false, "record the binlog files of examples/demo again")

const (
	fileBytesMax = 400 << 10
	filesMax     = 2 // of each server
)

var schema = []string{
	"CREATE DATABASE shop",
	`CREATE TABLE shop.customers (
		id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
		email VARCHAR(120) NOT NULL, name VARCHAR(80) NOT NULL, country CHAR(2) NOT NULL,
		created_at DATETIME NOT NULL) DEFAULT CHARSET=utf8mb4`,
	`CREATE TABLE shop.orders (
		id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
		customer_id INT UNSIGNED NOT NULL, email VARCHAR(120) NOT NULL,
		status ENUM('draft','placed','paid','shipped','cancelled') NOT NULL,
		total DECIMAL(10,2) NOT NULL, note VARCHAR(200), placed_at DATETIME NOT NULL) DEFAULT CHARSET=utf8mb4`,
	`CREATE TABLE shop.items (
		order_id BIGINT UNSIGNED NOT NULL, line SMALLINT UNSIGNED NOT NULL,
		sku VARCHAR(20) NOT NULL, quantity SMALLINT UNSIGNED NOT NULL, price DECIMAL(8,2) NOT NULL,
		PRIMARY KEY (order_id, line)) DEFAULT CHARSET=utf8mb4`,
}

func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("records only with -record")
	}
	args := testserver.Args("--binlog-row-metadata=FULL", fmt.Sprintf("--max-binlog-size=%d", fileBytesMax-8<<10))
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		reset := "RESET BINARY LOGS AND GTIDS"
		if db.Flavor == testserver.FlavorMariaDB {
			reset = "RESET MASTER"
		}
		db.Exec(t, append([]string{reset}, schema...)...)
		s := shop{t: t, conn: db.Conn(t), r: rand.New(rand.NewPCG(1, 2))}
		last := filepath.Join(db.BinlogDir(), fmt.Sprintf("binlog.%06d", filesMax+1))
		for n := 0; ; n++ {
			if _, err := os.Stat(last); err == nil {
				t.Logf("%s: %d transactions, %d customers, %d orders", db.Flavor, n, s.customers, s.orders)
				break
			}
			s.transaction()
		}
		keep(t, db)
	}, args)
}

// keep copies the closed files, and no other.
func keep(t *testing.T, db *testserver.DB) {
	dir := filepath.Join("..", db.Flavor)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range filesMax {
		name := fmt.Sprintf("binlog.%06d", i+1)
		text, err := os.ReadFile(filepath.Join(db.BinlogDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > fileBytesMax {
			t.Fatalf("%s has %d bytes, more than %d", name, len(text), fileBytesMax)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// shop is a shop at work, the same one each time.
type shop struct {
	t                 *testing.T
	conn              *client.Conn
	r                 *rand.Rand
	customers, orders int
}

var (
	names     = strings.Fields("Ada Grace Edsger Barbara Donald Leslie Tony Margaret Niklaus Frances Ken Radia")
	families  = strings.Fields("Lovelace Hopper Dijkstra Liskov Knuth Lamport Hoare Hamilton Wirth Allen Thompson Perlman")
	countries = strings.Fields("DE FR GB NL CH US CN BR")
	notes     = []string{"NULL", "'gift wrap'", "'leave at the door'", "'größere Tüte bitte'", "'send with the next one ✓'"}
)

func (s *shop) exec(format string, args ...any) {
	if _, err := s.conn.Execute(fmt.Sprintf(format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

func email(n int) string {
	return strings.ToLower(fmt.Sprintf("%s.%s%d@example.com", names[n%len(names)], families[n/len(names)%len(families)], n))
}

func (s *shop) transaction() {
	switch p := s.r.IntN(100); {
	case s.customers < 10 || p < 15:
		s.customer()
	case s.orders < 10 || p < 60:
		s.order()
	case p < 95:
		s.progress()
	default:
		s.forget()
	}
}

func (s *shop) customer() {
	n := s.customers
	s.customers++
	s.exec("INSERT INTO shop.customers (email, name, country, created_at) VALUES ('%s', '%s %s', '%s', NOW())",
		email(n), names[n%len(names)], families[n/len(names)%len(families)], countries[s.r.IntN(len(countries))])
}

func (s *shop) order() {
	s.orders++
	customer := s.r.IntN(s.customers)
	status := [...]string{"draft", "placed", "placed", "paid"}[s.r.IntN(4)]
	lines := 1 + s.r.IntN(4)
	var total int
	values := make([]string, lines)
	for i := range values {
		quantity, cents := 1+s.r.IntN(5), 99+s.r.IntN(20000)
		total += quantity * cents
		values[i] = fmt.Sprintf("(%d, %d, 'SKU-%05d', %d, %d.%02d)", s.orders, i+1, s.r.IntN(500), quantity, cents/100, cents%100)
	}
	s.exec("BEGIN")
	s.exec("INSERT INTO shop.orders VALUES (%d, %d, '%s', '%s', %d.%02d, %s, NOW())",
		s.orders, customer+1, email(customer), status, total/100, total%100, notes[s.r.IntN(len(notes))])
	s.exec("INSERT INTO shop.items VALUES %s", strings.Join(values, ", "))
	s.exec("COMMIT")
}

func (s *shop) progress() {
	s.exec("UPDATE shop.orders SET status = ELT(FIELD(status, 'draft', 'placed', 'paid') + 1, 'cancelled', 'placed', 'paid', 'shipped') WHERE id = %d",
		1+s.r.IntN(s.orders))
}

func (s *shop) forget() {
	id := 1 + s.r.IntN(s.orders)
	s.exec("BEGIN")
	s.exec("DELETE FROM shop.items WHERE order_id = %d", id)
	s.exec("DELETE FROM shop.orders WHERE id = %d", id)
	s.exec("COMMIT")
}
