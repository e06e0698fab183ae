package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/definition"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// server is what a connection says of the server behind it.
type server struct {
	host
	conn   *replica.Conn
	flavor gtid.Flavor
	uuid   string // MySQL's uuid, MariaDB's server id
	gtids  bool   // positions carry GTIDs
	mode   string // gtid_mode of MySQL
}

// open connects to the first host of the list that answers, beginning with the
// one that was used last. Faults: as dial's, of the host that was asked first.
func (s *Source) open(ctx context.Context) (*server, error) {
	first := s.current()
	var why error
	for i := range s.hosts {
		v, err := s.dial(ctx, s.hosts[(first+i)%len(s.hosts)])
		if err == nil || ctx.Err() != nil {
			return v, err
		}
		if why == nil {
			why = err
		}
		if !fault.HasCode(err, "server_unreachable") {
			break // it answers: what it says is worth more than what others do
		}
	}
	return nil, why
}

// dial connects to a host and looks who is there. Faults: server_unreachable,
// access_denied, server_refused.
func (s *Source) dial(ctx context.Context, h host) (*server, error) {
	conn, err := replica.Connect(ctx, h.Target)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, h.connectFault(err)
	}
	v := &server{host: h, conn: conn, flavor: conn.Flavor()}
	if err := v.identify(ctx, s.config.Mode); err != nil {
		return nil, errors.Join(h.sqlFault(err), conn.Close())
	}
	return v, nil
}

func (v *server) identify(ctx context.Context, mode string) error {
	vars, err := v.variables(ctx, "server_id", "server_uuid", "gtid_mode")
	if err != nil {
		return err
	}
	if v.flavor == gtid.MariaDB {
		v.uuid, v.gtids = vars["server_id"], mode != modeFile
		return nil
	}
	v.uuid, v.mode = strings.ToLower(vars["server_uuid"]), vars["gtid_mode"]
	v.gtids = mode == modeGTID || mode == modeAuto && v.mode == "ON"
	return nil
}

// head returns the position of the log's end. Fault: binlog_off.
func (v *server) head(ctx context.Context) (*position.Position, error) {
	rows, err := definition.Status(ctx, v.conn)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || len(rows[0]) < 2 {
		return nil, fault.New(fault.Environment, "binlog_off", "", "start the server with log_bin", "the server writes no binary log")
	}
	pos, err := strconv.ParseUint(rows[0][1], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("position of the log's end: %w", err)
	}
	p := &position.Position{Flavor: v.flavor, File: rows[0][0], Pos: pos, Server: v.uuid}
	if !v.gtids {
		return p, nil
	}
	text := ""
	if v.flavor == gtid.MariaDB {
		text, err = v.conn.Value(ctx, "SELECT @@global.gtid_binlog_pos")
	} else if len(rows[0]) > 4 {
		text = rows[0][4] // consistent with file and position
	}
	if err != nil {
		return nil, err
	}
	p.GTIDs, err = gtid.Parse(v.flavor, text)
	return p, err
}

// logSize returns the size of one of the server's log files; 0 for one that is
// not there.
func (v *server) logSize(ctx context.Context, file string) (uint64, error) {
	rows, err := v.conn.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r[0] == file && len(r) > 1 {
			return strconv.ParseUint(r[1], 10, 64)
		}
	}
	return 0, nil
}

// logs returns the server's log files, oldest first.
func (v *server) logs(ctx context.Context) (files []string, err error) {
	rows, err := v.conn.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		files = append(files, r[0])
	}
	return files, nil
}

// earliest returns the beginning of the oldest log.
func (v *server) earliest(ctx context.Context) (*position.Position, error) {
	files, err := v.logs(ctx)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Environment, "binlog_off", "", "start the server with log_bin", "the server has no binary log")
	}
	p := &position.Position{Flavor: v.flavor, File: files[0], Pos: position.FirstPos, Server: v.uuid}
	if v.gtids && v.flavor == gtid.MySQL {
		text, err := v.conn.Value(ctx, "SELECT @@global.gtid_purged")
		if err != nil {
			return nil, err
		}
		if p.GTIDs, err = gtid.Parse(gtid.MySQL, text); err != nil {
			return nil, err
		}
	}
	return p, nil
}
