package mysql

import (
	"context"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/snapshot"
	"github.com/cdcd-io/cdcd/sdk"
)

// Rerun implements cdc.Rerunner: a copy of all tables begins, at the log's end.
// What the log told since the last run is left out, as the tables hold it.
func (s *Source) Rerun(ctx context.Context, base sdk.Position, r cdc.Run) (sdk.Position, error) {
	_, c, err := cursorOf(base)
	if err != nil {
		return "", err
	}
	return s.ask(ctx, func(v *server) (*position.Position, error) {
		if err := s.checkTables(ctx, v); err != nil {
			return nil, err
		}
		p, err := v.head(ctx)
		if err == nil {
			p.Snapshot = (&snapshot.Cursor{N: c.N + 1, Run: &r}).Encode()
		}
		return p, err
	})
}

// RunOf implements cdc.Rerunner.
func (s *Source) RunOf(pos sdk.Position) (cdc.Run, error) {
	_, c, err := cursorOf(pos)
	if err != nil || c.Run == nil {
		return cdc.Run{}, err
	}
	return *c.Run, nil
}

// EndRun implements cdc.Rerunner.
func (s *Source) EndRun(pos sdk.Position) (sdk.Position, error) {
	p, c, err := cursorOf(pos)
	if err != nil || c.Run == nil {
		return pos, err
	}
	ended := *c.Run
	ended.Ended = true
	c.N, c.Run = c.N+1, &ended
	p.Snapshot = c.Encode()
	return p.Encode(), nil
}

// cursorOf decodes a position and the cursor in it.
func cursorOf(pos sdk.Position) (*position.Position, snapshot.Cursor, error) {
	p, err := position.Decode(pos)
	if err != nil {
		return nil, snapshot.Cursor{}, positionFault(err)
	}
	c, err := snapshot.ParseCursor(p.Snapshot)
	if err != nil {
		return nil, c, positionFault(err)
	}
	return p, c, nil
}
