package main

import (
	"context"
	"errors"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"golang.org/x/sync/errgroup"

	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/cdc"
	source "github.com/cdcd-io/cdcd/cdc/mysql"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// copyTable copies the table as the source does with `snapshot: only`, and gives
// the batches back as they come.
func copyTable(dsn string, workers int) (rows int, err error) {
	c := source.Default()
	c.DSN, c.Tables, c.Snapshot = unit.NewSecret(dsn), []string{load.Large}, "only"
	c.SnapshotOptions.Workers = workers
	s, err := source.New(*c, cdc.Env{Pipeline: "bench"})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx := context.Background()
	from, err := s.Initial(ctx)
	if err != nil {
		return 0, err
	}
	err = s.Run(ctx, cdc.Start{Base: from}, func(_ context.Context, b *cdc.Batch) error {
		rows += b.Rows()
		b.Release()
		return nil
	})
	if errors.Is(err, cdc.ErrEnd) {
		err = nil
	}
	return rows, err
}

// plain reads the table as a person would who wants it fast: ranges of the
// primary key side by side, in the binary protocol, each row in the memory of
// the one before.
type plain struct {
	db      *testserver.DB
	workers int
	rows    int // of the table, whose keys go from 0 on
}

func (p *plain) read() (rows int, err error) {
	var g errgroup.Group
	counts := make([]int, p.workers)
	for i := range counts {
		g.Go(func() error {
			conn, err := client.Connect(p.db.Addr(), "root", "", "")
			if err != nil {
				return err
			}
			counts[i], err = readRange(conn, i*p.rows/p.workers, (i+1)*p.rows/p.workers)
			return errors.Join(err, conn.Close())
		})
	}
	err = g.Wait()
	for _, n := range counts {
		rows += n
	}
	return rows, err
}

// readRange reads the rows with keys from one up to another.
func readRange(conn *client.Conn, from, to int) (rows int, err error) {
	stmt, err := conn.Prepare("SELECT * FROM " + load.Large + " WHERE id >= ? AND id < ?")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stmt.Close()) }()
	sum := uint64(0) // of something in each value, so that each is looked at
	var result mysql.Result
	err = stmt.ExecuteSelectStreaming(&result, func(row []mysql.FieldValue) error {
		for i := range row {
			switch v := &row[i]; v.Type {
			case mysql.FieldValueTypeString:
				sum += uint64(len(v.AsString()))
			default:
				sum += v.AsUint64()
			}
		}
		rows++
		return nil
	}, nil, from, to)
	if err == nil && rows > 0 && sum == 0 {
		err = errors.New("the rows have no values")
	}
	return rows, err
}
