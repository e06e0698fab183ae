package examine

import (
	"context"

	"github.com/cdcd-io/cdcd/internal/checkup"
)

// cascades looks for foreign keys by which rows of followed tables change
// without a trace: MariaDB, and MySQL before 9.6, leave their actions to the
// storage engine, which writes no log.
func (e *examiner) cascades(ctx context.Context) error {
	if e.Filter == nil {
		return nil
	}
	if native, known := e.vars["innodb_native_foreign_keys"]; known && native != "ON" && native != "1" {
		e.add(checkup.Ok("cascades", "the log has what foreign keys do"))
		return nil
	}
	bad, err := e.pick(ctx, "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS "+
		"WHERE DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') ORDER BY 1, 2, 3")
	if err != nil {
		return err
	}
	found := "no followed table is changed by foreign keys"
	if len(bad) > 0 {
		found = "foreign keys change rows: " + list(bad, func(t tableRow) string { return t.db + "." + t.name + " (" + t.engine + ")" })
	}
	e.judge(len(bad) == 0, found, checkup.Result{Check: "cascades", Level: checkup.Warning,
		Why: "this server does not log what ON DELETE and ON UPDATE do to the rows of such a table: no reader of the log can see it",
		Fix: []string{"make the key ON DELETE RESTRICT ON UPDATE RESTRICT and let the application, or a trigger, change the rows; " +
			"or use MySQL 9.6 or later without innodb_native_foreign_keys"}})
	return nil
}
