package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// Options shape a Workload. The zero value of a field means its default.
type Options struct {
	Seed       uint64
	Writers    int           // 4; at most 64
	Interval   time.Duration // 20 ms: from one transaction of a writer to its next
	LargeRows  int           // 5,000: rows of a large transaction
	LargeEvery int           // 400: one transaction in so many is large; negative for none
	XAEvery    int           // one transaction in so many is one of two phases; 0 for none
}

func (o Options) withDefaults() Options {
	if o.Writers == 0 {
		o.Writers = 4
	}
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	if o.LargeRows == 0 {
		o.LargeRows = 5000
	}
	if o.LargeEvery == 0 {
		o.LargeEvery = 400
	}
	return o
}

// Workload changes a database until it is told to stop. It survives the
// database's death: what it needs to go on, the database itself holds.
type Workload struct {
	db  *testserver.DB
	opt Options

	transactions, rows, undone, reconnects atomic.Int64
}

// NewWorkload returns a Workload for a database; it touches nothing yet.
func NewWorkload(db *testserver.DB, opt Options) *Workload {
	return &Workload{db: db, opt: opt.withDefaults()}
}

// Stats counts what a Workload has done.
type Stats struct {
	Transactions, Rows int64 // committed, with followed rows
	Undone             int64 // rolled back, by will or by the server
	Reconnects         int64
}

// Stats returns the counts so far, from any goroutine.
func (w *Workload) Stats() Stats {
	return Stats{w.transactions.Load(), w.rows.Load(), w.undone.Load(), w.reconnects.Load()}
}

// Create makes the database and its tables: the followed ones, and those that
// must not show in the stream.
func (w *Workload) Create() error {
	statements := []string{
		"CREATE DATABASE " + DB,
		// The last version of keys that have no row now. Not followed.
		"CREATE TABLE " + DB + ".tomb (tbl INT, n BIGINT UNSIGNED, v BIGINT UNSIGNED NOT NULL, PRIMARY KEY (tbl, n))",
		"CREATE TABLE " + DB + ".noise (id BIGINT AUTO_INCREMENT PRIMARY KEY, body TEXT)",
	}
	for _, t := range tables() {
		statements = append(statements, t.create())
	}
	return w.db.Try(statements...)
}

// Run changes the database until ctx ends, which is not an error. What the
// server refuses for another reason than a deadlock or its own death is one.
func (w *Workload) Run(ctx context.Context) error {
	for began := time.Now(); ; {
		err := w.fillShared()
		if err == nil {
			break
		}
		if code := testserver.ErrorCode(err); code != 0 && code != codeShutdown || time.Since(began) > downMax {
			return err
		}
		select { // the server died: it comes again
		case <-ctx.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
	errs := make([]error, w.opt.Writers)
	var group sync.WaitGroup
	for id := range w.opt.Writers {
		group.Go(func() { errs[id] = w.write(ctx, uint64(id)) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// downMax is how long the server may be away when the work begins.
const downMax = time.Minute

// fillShared inserts the rows that all writers change, at version 1, where they
// are not there.
func (w *Workload) fillShared() error {
	session, err := w.db.Session()
	if err != nil {
		return err
	}
	defer session.Close()
	for _, t := range tables() {
		if !t.shared {
			continue
		}
		keys := t.keys
		if t.name == writerTable {
			keys = uint64(w.opt.Writers)
		}
		if _, err := session.Exec("BEGIN"); err != nil {
			return err
		}
		for n := range keys {
			literals, _ := t.row(n, 1)
			if _, err := session.Exec(fmt.Sprintf("INSERT IGNORE INTO %s.%s VALUES (%s)", DB, t.name, strings.Join(literals, ", "))); err != nil {
				return err
			}
		}
		if _, err := session.Exec("COMMIT"); err != nil {
			return err
		}
	}
	return nil
}

// write is one writer's life: transactions at an even pace, and a new
// connection whenever the old one breaks.
func (w *Workload) write(ctx context.Context, id uint64) error {
	wr := &writer{w: w, id: id, rand: rand.New(rand.NewPCG(w.opt.Seed, id)), tables: tables()}
	defer wr.disconnect()
	pace := time.NewTicker(w.opt.Interval)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		err := wr.step()
		switch code := testserver.ErrorCode(err); {
		case err == nil:
		case code == codeDeadlock || code == codeLockTimeout:
			w.undone.Add(1)
			if err := wr.abandon(); err != nil {
				wr.disconnect()
			}
		case code == 0 || code == codeShutdown:
			// The connection broke: whether the last commit held is unknown.
			wr.disconnect()
		default:
			return fmt.Errorf("writer %d: %w", id, err)
		}
	}
}

// Errors of the server that a writer expects.
const (
	codeUnknownXID  = 1397
	codeShutdown    = 1053
	codeLockTimeout = 1205
	codeDeadlock    = 1213
)

// Tables reads all followed tables, for Checker.Compare.
func (w *Workload) Tables() (map[string][][]string, error) {
	session, err := w.db.Session()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	if _, err := session.Exec("SET time_zone = '+00:00'"); err != nil {
		return nil, err
	}
	all := make(map[string][][]string)
	for _, t := range tables() {
		rows, err := session.Query(t.selectAll())
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			for i := range row {
				row[i] = t.columns[i].kind.fromSQL(row[i])
			}
		}
		all[t.name] = rows
	}
	return all, nil
}
