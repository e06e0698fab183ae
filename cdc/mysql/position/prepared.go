package position

import (
	"encoding/json"
	"errors"
	"math"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
)

// Prepared is an XA transaction between XA PREPARE and its end, which may come
// in any later log file: where its rows are.
type Prepared struct {
	XID string // as statement.XID writes it
	// File and Pos are where its first event begins, on the server Server. From
	// is where to begin reading when Pos is beyond 4 GiB, as in Position.
	File   string
	Pos    uint64
	From   uint64
	Server string
	// GTID finds it on any server; zero without. After is MariaDB's id before it
	// in its domain, behind which reading begins there; zero for none.
	GTID, After gtid.ID
}

type wirePrepared struct {
	XID    string `json:"xid"`
	File   string `json:"file,omitempty"`
	Pos    uint64 `json:"pos,omitempty"`
	From   uint64 `json:"from,omitempty"`
	Server string `json:"server,omitempty"` // where it is another one than the position's
	GTID   string `json:"gtid,omitempty"`
	After  string `json:"after,omitempty"`
}

// Dump returns the offset to ask a server for, so as to reach Pos.
func (p *Prepared) Dump() uint32 {
	at := Position{Pos: p.Pos, From: p.From}
	return at.Dump()
}

func (p *Position) appendPrepared(dst []byte) []byte {
	if len(p.Prepared) == 0 {
		return dst
	}
	list := make([]wirePrepared, len(p.Prepared))
	for i := range list {
		x := &p.Prepared[i]
		list[i] = wirePrepared{XID: x.XID, File: x.File, Pos: x.Pos}
		if x.Pos > math.MaxUint32 {
			list[i].From = x.From
		}
		if x.Server != p.Server {
			list[i].Server = x.Server
		}
		if !x.GTID.IsZero() {
			list[i].GTID = x.GTID.String()
		}
		if !x.After.IsZero() {
			list[i].After = x.After.String()
		}
	}
	text, err := json.Marshal(list)
	if err != nil { // impossible for strings and numbers
		return dst
	}
	return append(append(dst, `,"xa":`...), text...)
}

func (p *Position) readPrepared(list []wirePrepared) error {
	for _, w := range list {
		x := Prepared{XID: w.XID, File: w.File, Pos: w.Pos, From: w.From, Server: w.Server}
		if x.Server == "" {
			x.Server = p.Server
		}
		if x.XID == "" || x.File == "" && w.GTID == "" {
			return errors.New("a prepared transaction without id or place")
		}
		for _, id := range []struct {
			text string
			to   *gtid.ID
		}{{w.GTID, &x.GTID}, {w.After, &x.After}} {
			if id.text == "" {
				continue
			}
			var err error
			if *id.to, err = gtid.ParseID(p.Flavor, id.text); err != nil {
				return err
			}
		}
		p.Prepared = append(p.Prepared, x)
	}
	return nil
}

// Oldest returns the log file from which on the server's log is still needed:
// that of the oldest open XA transaction, or else the position's own.
func (p *Position) Oldest() string {
	for _, x := range p.Prepared {
		if x.Server == p.Server && x.File != "" {
			return x.File // they are in the order of the log
		}
	}
	return p.File
}
