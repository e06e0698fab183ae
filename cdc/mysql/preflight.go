package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// Preflight connects and checks everything that reading needs. What only
// weakens a guarantee is logged as a warning.
func (s *Source) Preflight(ctx context.Context) (err error) {
	v, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.conn.Close()) }()
	var errs []error
	for _, check := range []func(context.Context, *server) error{
		s.checkLog, s.warnTables, s.checkGrants, // checkGrants last: it registers the connection
	} {
		if err := check(ctx, v); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			errs = append(errs, v.sqlFault(err))
		}
	}
	return errors.Join(errs...)
}

// variables returns the server's global variables by name, in lower case.
func (v *server) variables(ctx context.Context, names ...string) (map[string]string, error) {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = replica.Quote(n)
	}
	rows, err := v.conn.Query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+strings.Join(quoted, ", ")+")")
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, r := range rows {
		found[strings.ToLower(r[0])] = strings.ToUpper(r[1])
	}
	return found, nil
}

// checkLog checks how the server writes its log.
func (s *Source) checkLog(ctx context.Context, v *server) error {
	vars, err := v.variables(ctx, "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata", "binlog_row_value_options", "sync_binlog")
	if err != nil {
		return err
	}
	var errs []error
	refuse := func(code, hint, format string, args ...any) {
		errs = append(errs, fault.New(fault.Environment, code, v.Addr, hint, format, args...))
	}
	if vars["log_bin"] != "ON" && vars["log_bin"] != "1" {
		refuse("binlog_off", "start the server with log_bin (and, on MariaDB, server_id)", "the server writes no binary log")
	}
	if format := vars["binlog_format"]; format != "" && format != "ROW" {
		refuse("binlog_format_not_row", "SET GLOBAL binlog_format=ROW on the server (and in its configuration), then let all sessions connect anew",
			"binlog_format is %s", format)
	}
	if image := vars["binlog_row_image"]; image != "FULL" && strings.Contains(vars["binlog_row_value_options"], "PARTIAL_JSON") {
		refuse("partial_json_unsupported", "SET GLOBAL binlog_row_value_options='', or binlog_row_image=FULL, on the server",
			"the log may hold parts of JSON documents without the documents before them: binlog_row_image is %s", image)
	}
	if image := vars["binlog_row_image"]; s.copies() && image != "" && image != "FULL" {
		errs = append(errs, rowImageFault(v.Addr, image))
	}
	if s.config.Mode == modeGTID && v.flavor == gtid.MySQL && !strings.EqualFold(v.mode, "ON") {
		refuse("gtid_off", "switch gtid_mode to ON on the server, or write mode: auto", "mode: gtid, but gtid_mode is %q", v.mode)
	}
	if s.env.Log != nil {
		for name, w := range map[string]struct{ want, why string }{
			"binlog_row_image":    {"FULL", "columns that did not change are absent from updates and deletes"},
			"binlog_row_metadata": {"FULL", "names of columns come from the server's catalog; a table that is altered while cdcd is far behind stops it"},
			"sync_binlog":         {"1", "a crash of the server's machine can lose transactions that were already delivered"},
		} {
			if got, known := vars[name]; known && got != w.want {
				s.env.Log.Warn("server setting weakens a guarantee", "variable", name, "value", got, "better", w.want, "why", w.why)
			}
		}
	}
	return errors.Join(errs...)
}

// checkTables checks that the tables which are named one by one are there.
func (s *Source) checkTables(ctx context.Context, v *server) error {
	var errs []error
	for _, n := range s.filter.Named() {
		found, err := v.conn.Value(ctx, fmt.Sprintf("SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES "+
			"WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s", replica.Quote(n.DB), replica.Quote(n.Table)))
		if err != nil {
			return err
		}
		if want := n.DB + "." + n.Table; found != want {
			hint := fmt.Sprintf("correct the name, or GRANT SELECT ON %s.* TO %s@'%%'", n.DB, replica.Quote(v.User))
			if found != "" {
				hint = "write it as the server does: " + found
			}
			errs = append(errs, fault.New(fault.Config, "unknown_table", fmt.Sprintf("tables[%d]", n.Index), hint,
				"the server has no table %s that account %s may see", want, v.User))
		}
	}
	return errors.Join(errs...)
}

// warnTables logs what checkTables finds: a pipeline with a history reads on
// when one of its tables is dropped.
func (s *Source) warnTables(ctx context.Context, v *server) error {
	err := s.checkTables(ctx, v)
	if fault.HasCode(err, "unknown_table") {
		if s.env.Log != nil {
			s.env.Log.Warn("a followed table is not on the server", "reason", err)
		}
		return nil
	}
	return err
}

// checkStart checks that a start which is written out can be read from: what a
// stream is claimed with is not asked for again.
func (s *Source) checkStart(ctx context.Context, v *server, p *position.Position) error {
	if p.GTIDs == nil {
		return s.checkPlace(ctx, v, p)
	}
	head, err := v.head(ctx)
	if err != nil {
		return err
	}
	if head.GTIDs != nil && !head.GTIDs.Contains(p.GTIDs) {
		return startFault("the server's log has only %.200s", head.GTIDs)
	}
	if v.flavor != gtid.MySQL {
		return nil // MariaDB tells when it is asked for the log
	}
	oldest, err := v.earliest(ctx)
	if err == nil && oldest.GTIDs != nil && !p.GTIDs.Contains(oldest.GTIDs) {
		err = purgedFault("the server's log begins behind %.200s", oldest.GTIDs)
	}
	return err
}

// errBinlogEvents is the servers' number for SHOW BINLOG EVENTS from a place
// where no event is.
const errBinlogEvents = 1220

// checkPlace checks that a transaction begins at a place of a log file, or
// that the file ends there.
func (s *Source) checkPlace(ctx context.Context, v *server, p *position.Position) error {
	size, err := v.logSize(ctx, p.File)
	if err != nil {
		return err
	}
	if size == 0 {
		return purgedFault("the server has no log file %s", p.File)
	}
	if p.Pos == size {
		return nil
	}
	rows, err := v.conn.Query(ctx, fmt.Sprintf("SHOW BINLOG EVENTS IN %s FROM %d LIMIT 1", replica.Quote(p.File), p.Pos))
	switch {
	case replica.Code(err) == errBinlogEvents, err == nil && len(rows) == 0:
		return startFault("no event begins at %s; the file has %d bytes", p.Place(), size)
	case err != nil:
		return err
	case len(rows[0]) < 3 || rows[0][1] != strconv.FormatUint(p.Pos, 10):
		return startFault("no event begins at %s, the next one is at %s", p.Place(), rows[0][1])
	}
	switch kind := strings.ToLower(rows[0][2]); {
	case strings.Contains(kind, "rows"), kind == "table_map", kind == "xid", kind == "xa_prepare", kind == "intvar", kind == "rand", kind == "user_var":
		return startFault("the event at %s, %s, is inside a transaction", p.Place(), rows[0][2])
	}
	return nil
}

func startFault(format string, args ...any) error {
	return fault.New(fault.Config, "start_invalid", "start",
		"write start: earliest or latest, or a place at which a transaction begins, as SHOW BINLOG EVENTS IN '...' lists them", format, args...)
}

func purgedFault(format string, args ...any) error {
	return fault.New(fault.Environment, "position_purged", "start",
		"the server has deleted the log at which reading should begin: write start: earliest, or restore the logs", format, args...)
}

// checkGrants does what reading will do and the account may not be allowed to.
func (s *Source) checkGrants(ctx context.Context, v *server) error {
	if _, err := v.head(ctx); err != nil && !fault.HasCode(err, "binlog_off") {
		return err
	}
	if err := v.conn.Register(ctx, s.config.ServerID); err != nil {
		if replica.Code(err) == 1045 { // what MariaDB answers here
			return v.grantFault(err)
		}
		return err
	}
	return nil
}
