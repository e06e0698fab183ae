package assemble

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/statement"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/sdk"
)

// query handles a statement: the bounds of a transaction, DDL, and what must
// not be in a row-based log. outer says that the event stands in the log
// itself, so that the place moves with it.
func (a *Assembler) query(ctx context.Context, ev binlog.Event, outer bool) error {
	q, err := a.parser.Query(ev)
	if err != nil {
		return err
	}
	s := statement.Read(q.SQL, q.Schema)
	if !a.tx.open {
		// A log without GTID events: the statement itself opens a transaction.
		a.openTx(ev, gtid.ID{})
		if err := a.seek(); err != nil {
			return err
		}
	}
	if outer {
		a.at.advance(ev.Header)
	}
	if a.tx.xa {
		switch s.Kind {
		case statement.DML, statement.Truncate:
			a.xa.any = true
			return a.keepXA(ev)
		case statement.Savepoint, statement.RollbackTo:
			return a.keepXA(ev)
		}
	}
	switch s.Kind {
	case statement.XAStart:
		a.tx.begun = true
		a.beginXA(s.Name)
		return nil
	case statement.XACommit, statement.XARollback:
		return a.decide(ctx, s)
	case statement.Begin:
		a.tx.begun = true
		if len(s.Tables) > 0 { // CREATE TABLE ... START TRANSACTION
			return a.ddl(ctx, &q, s)
		}
		return nil
	case statement.Commit:
		return a.commit(ctx)
	case statement.Rollback:
		return a.rollback(ctx)
	case statement.Savepoint:
		a.savepoint(s.Name)
		return nil
	case statement.RollbackTo:
		return a.rollbackTo(s.Name)
	case statement.XAEnd:
		return nil
	case statement.DML:
		if err := a.dml(&q, s); err != nil {
			return err
		}
	case statement.Truncate:
		if err := a.truncate(ctx, s.Tables[0]); err != nil {
			return err
		}
	case statement.DDL, statement.Unknown, statement.Benign:
		if err := a.ddl(ctx, &q, s); err != nil {
			return err
		}
	}
	if a.tx.begun {
		return nil
	}
	return a.commit(ctx)
}

// dml refuses statements that may have changed rows of followed tables without
// saying which: those that name one, and those that changed another table of
// their database, from where triggers and foreign keys may have led to them.
// One of which it is not known what it changed may have changed anything.
func (a *Assembler) dml(q *binlog.Query, s statement.Statement) error {
	if a.tx.skip {
		return nil
	}
	what := ""
	if len(q.Databases)+len(s.Tables) == 0 {
		what = "any table"
	}
	for _, db := range q.Databases {
		if a.o.Filter.MatchDB(db) {
			what = "tables of " + db
		}
	}
	for _, n := range s.Tables {
		switch {
		case a.o.Filter.Match(n.DB, n.Table):
			what = n.DB + "." + n.Table
		case what == "" && a.o.Filter.MatchDB(n.DB):
			what = "tables of " + n.DB
		}
	}
	if what == "" {
		return nil
	}
	return a.fault("statement_format", "SET GLOBAL binlog_format=ROW on the server, let all sessions connect anew, "+
		"and copy the followed tables' content anew behind this position",
		"the log may change %s by a statement instead of by rows", what)
}

// loadQuery refuses LOAD DATA in statement format, under the same rule.
func (a *Assembler) loadQuery(ev binlog.Event) error {
	q, err := a.parser.Query(ev)
	if err != nil {
		return err
	}
	return a.dml(&q, statement.Read(q.SQL, q.Schema))
}

// truncate makes a row of the emptying of a followed table.
func (a *Assembler) truncate(ctx context.Context, n tables.Name) error {
	if a.tx.skip || !a.o.Filter.Match(n.DB, n.Table) {
		return nil
	}
	schema, err := a.tables.named(n)
	if err != nil {
		return a.located(err)
	}
	if err := a.beforeRow(ctx); err != nil {
		return err
	}
	size := a.b.Size()
	a.b.BeginRow(schema, sdk.OpTruncate, 0, a.tx.rows)
	a.b.EndRow()
	return a.afterRow(ctx, a.b.Size()-size)
}
