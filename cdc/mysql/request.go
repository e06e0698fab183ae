package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/scan"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// CheckSnapshot implements cdc.SnapshotRequester. Faults: unknown_table,
// tables_invalid, snapshot_not_followed, snapshot_running, snapshot_unsupported,
// snapshot_row_image, and those of scan.Conn.Plan, such as snapshot_where.
func (s *Source) CheckSnapshot(ctx context.Context, patterns []string, r cdc.SnapshotRequest) (cdc.SnapshotRequest, error) {
	if s.config.Snapshot == snapshotOnly {
		return r, fault.New(fault.Config, "snapshot_unsupported", s.env.Pipeline, "run it again when it has ended; or write snapshot: initial, or never",
			"the pipeline is a batch job, which ends when its tables are copied")
	}
	names, err := s.chosenTables(ctx, patterns)
	if err != nil {
		return r, err
	}
	c, err := s.scanConn(ctx, s.hosts[s.current()], func(int) error { return nil })
	if err != nil {
		return r, err
	}
	defer func() { _ = c.Close() }() // nothing was changed
	s.mu.Lock()
	copier := s.copier
	s.mu.Unlock()
	var errs []error
	r.Tables, r.Rows = nil, nil
	for _, n := range names {
		if copier != nil && copier.Copying(snapshot.Name(n)) {
			errs = append(errs, fault.New(fault.Config, "snapshot_running", n.String(), "wait until it is done: cdcd snapshot status",
				"the table is about to be copied already, as snapshot: %s of the configuration says", s.config.Snapshot))
			continue
		}
		t, err := c.Plan(ctx, tables.Name(n), scan.TableOptions{Where: r.Where, Columns: r.Columns})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		r.Tables, r.Rows = append(r.Tables, n), append(r.Rows, t.RowsEstimate)
	}
	return r, errors.Join(errs...)
}

// chosenTables returns the followed tables that patterns choose, as the server
// writes them.
func (s *Source) chosenTables(ctx context.Context, patterns []string) (names []cdc.TableName, err error) {
	if _, faults := tables.New(patterns); len(faults) > 0 || len(patterns) == 0 {
		errs := []error{}
		for _, f := range faults {
			errs = append(errs, f)
		}
		if len(patterns) == 0 {
			errs = append(errs, fault.New(fault.Config, "unknown_table", "tables", "name the tables: db.table", "no table is named"))
		}
		return nil, errors.Join(errs...)
	}
	v, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	image, err := v.conn.Value(ctx, "SELECT @@global.binlog_row_image")
	if err != nil {
		return nil, v.sqlFault(err)
	}
	if image != "FULL" {
		return nil, rowImageFault(v.Addr, image)
	}
	rows, err := v.conn.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES "+
		"WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_SCHEMA, TABLE_NAME")
	if err != nil {
		return nil, v.sqlFault(err)
	}
	var errs []error
	for i, text := range patterns {
		f, _ := tables.New([]string{text})
		there, followed := 0, 0
		for _, row := range rows {
			n := cdc.TableName{DB: row[0], Table: row[1]}
			if !f.Match(n.DB, n.Table) {
				continue
			}
			there++
			if !s.filter.Match(n.DB, n.Table) {
				continue
			}
			if followed++; !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		path := fmt.Sprintf("tables[%d]", i)
		switch {
		case there == 0:
			errs = append(errs, fault.New(fault.Config, "unknown_table", path, fmt.Sprintf("correct the name, or GRANT SELECT on it to the account %s", v.User),
				"the server has no table %s that the account may see", text))
		case followed == 0:
			errs = append(errs, fault.New(fault.Config, "snapshot_not_followed", path, "add it to the source's tables: it is copied when the pipeline starts with them, where snapshot is initial",
				"the pipeline does not follow %s: changes of rows that are copied would not be told", text))
		}
	}
	return names, errors.Join(errs...)
}

func rowImageFault(addr, image string) error {
	return fault.New(fault.Environment, "snapshot_row_image", addr,
		"SET GLOBAL binlog_row_image=FULL on the server (and in its configuration), then let all sessions connect anew; or copy no tables: snapshot: never",
		"a copy of tables leaves it to the log to tell rows that change meanwhile, and binlog_row_image is %s", image)
}

// confirm tells the copier what is delivered, where it waits for that.
func (s *Source) confirm(pos sdk.Position) {
	s.mu.Lock()
	c := s.copier
	s.mu.Unlock()
	if c == nil || !c.Awaits() {
		return
	}
	p, err := position.Decode(pos)
	if err != nil {
		return // it is one of this source's: the next one will do
	}
	if cursor, err := snapshot.ParseCursor(p.Snapshot); err == nil {
		c.Confirm(&cursor)
	}
}
