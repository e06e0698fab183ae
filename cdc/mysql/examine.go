package mysql

import (
	"cmp"
	"context"
	"strings"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/examine"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// examineServer implements cdc.Kind's Examine; config is a valid *Config.
func examineServer(ctx context.Context, config any, x cdc.Examination) []checkup.Result {
	c := *config.(*Config)
	targets, err := replica.Targets(c.DSN.Reveal())
	if err != nil {
		return []checkup.Result{{Check: "dsn", Level: checkup.Failed, Found: err.Error(), Why: "no server is named",
			Fix: []string{"write it as mysql://user:password@host:3306, special characters percent-encoded"}}}
	}
	var filter *tables.Filter
	if len(c.Tables) > 0 {
		f, faults := tables.New(c.Tables)
		if len(faults) > 0 {
			return []checkup.Result{{Check: "tables", Level: checkup.Failed, Found: faults[0].Error(), Why: "it is not known what to read", Fix: []string{faults[0].Hint}}}
		}
		filter = f
	}
	var all []checkup.Result
	for _, t := range targets {
		results := examine.Run(ctx, examine.Request{Target: t, Filter: filter, WantGTIDs: c.Mode == modeGTID,
			ServerID: cmp.Or(c.ServerID, serverID(x.Pipeline)), Now: x.Now, Delivered: x.Delivered, LogPos: x.LogPos, Kept: x.Kept})
		for _, r := range results {
			if len(targets) > 1 {
				r.Check += "@" + t.Addr
			}
			all = append(all, r)
		}
	}
	return all
}

// fromDSN implements cdc.Kind's FromDSN.
func fromDSN(dsn string, tables []string) any {
	if !strings.HasPrefix(dsn, "mysql://") && !strings.HasPrefix(dsn, "mariadb://") {
		return nil
	}
	c := Default()
	c.DSN, c.Tables = unit.NewSecret(dsn), tables
	return c
}
