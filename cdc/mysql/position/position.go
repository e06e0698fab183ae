package position

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/sdk"
)

// FirstPos is the place of a log file's first event, behind its magic number.
const FirstPos = 4

// ErrPosition is wrapped by every error of this package.
var ErrPosition = errors.New("not a usable log position")

// Position is a place between two transactions of a log.
type Position struct {
	Flavor gtid.Flavor
	// File and Pos are the place in the server's log files. In a position with
	// GTIDs they are for people; they mean nothing on another server.
	File string
	Pos  uint64
	// From is where to begin reading so as to reach Pos in the same file, when
	// Pos is beyond what COM_BINLOG_DUMP can say (4 GiB); 0 otherwise.
	From uint64
	// GTIDs is what was executed up to here; nil when File and Pos decide.
	GTIDs *gtid.Set
	// Born is when the server began File, in seconds since the Unix epoch: it
	// tells the file from a later one of the same name. 0 when not known.
	Born uint32
	// Server names the server whose file File is: its uuid, or its id on
	// MariaDB; empty when not known.
	Server string
	// Prepared holds the XA transactions whose fate is open here, oldest first.
	// What they changed is read again where they were prepared once XA COMMIT
	// comes, so the log has to last from the oldest of them on. A Position does
	// not change the slice.
	Prepared []Prepared
	// Snapshot is the cursor of a copy of tables, as package cdc/snapshot writes
	// it; nil without one.
	Snapshot []byte
}

// wire's fields are in the order in which Encode writes them.
type wire struct {
	Flavor string  `json:"flavor"`
	File   string  `json:"file,omitempty"`
	Pos    uint64  `json:"pos,omitempty"`
	From   uint64  `json:"from,omitempty"`
	Born   uint32  `json:"born,omitempty"`
	GTID   *string `json:"gtid,omitempty"`
	Server string  `json:"server,omitempty"`

	Prepared []wirePrepared `json:"xa,omitempty"`

	Snapshot json.RawMessage `json:"snapshot,omitempty"`
}

// Encode returns the position as text.
func (p *Position) Encode() sdk.Position {
	var b []byte
	b = append(append(b, `{"flavor":"`...), p.Flavor.String()...)
	b = append(b, '"')
	if p.File != "" {
		b = appendText(append(b, `,"file":`...), p.File)
	}
	if p.Pos != 0 {
		b = strconv.AppendUint(append(b, `,"pos":`...), p.Pos, 10)
	}
	if p.From != 0 {
		b = strconv.AppendUint(append(b, `,"from":`...), p.From, 10)
	}
	if p.Born != 0 {
		b = strconv.AppendUint(append(b, `,"born":`...), uint64(p.Born), 10)
	}
	if p.GTIDs != nil {
		b = append(p.GTIDs.Append(append(b, `,"gtid":"`...)), '"')
	}
	if p.Server != "" {
		b = appendText(append(b, `,"server":`...), p.Server)
	}
	b = p.appendPrepared(b)
	pos := sdk.Position(append(b, '}'))
	if len(p.Snapshot) > 0 {
		pos = WithSnapshot(pos, p.Snapshot)
	}
	return pos
}

// WithSnapshot puts the cursor of a copy of tables into an encoded position that
// has none.
func WithSnapshot(pos sdk.Position, cursor []byte) sdk.Position {
	return pos[:len(pos)-1] + `,"snapshot":` + sdk.Position(cursor) + "}"
}

// appendText appends a JSON string.
func appendText(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // impossible for a string
		return append(dst, `""`...)
	}
	return append(dst, text...)
}

// Decode reads what Encode wrote. The error wraps ErrPosition.
func Decode(text sdk.Position) (*Position, error) {
	bad := func(err error) error { return fmt.Errorf("%w: %.200q: %w", ErrPosition, string(text), err) }
	var w wire
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return nil, bad(err)
	}
	p := &Position{File: w.File, Pos: w.Pos, From: w.From, Born: w.Born, Server: w.Server, Snapshot: w.Snapshot}
	switch w.Flavor {
	case "mysql":
		p.Flavor = gtid.MySQL
	case "mariadb":
		p.Flavor = gtid.MariaDB
	default:
		return nil, bad(fmt.Errorf("unknown flavor %q", w.Flavor))
	}
	if w.GTID != nil {
		set, err := gtid.Parse(p.Flavor, *w.GTID)
		if err != nil {
			return nil, bad(err)
		}
		p.GTIDs = set
	}
	if err := p.readPrepared(w.Prepared); err != nil {
		return nil, bad(err)
	}
	if p.GTIDs == nil && p.File == "" {
		return nil, bad(errors.New("neither file nor gtid"))
	}
	return p, nil
}

// Place returns the position for people: "binlog.000007:4711", or the GTIDs
// where no file is known.
func (p *Position) Place() string {
	if p.File != "" {
		return Place(p.File, p.Pos)
	}
	if p.GTIDs != nil {
		return p.GTIDs.String()
	}
	return ""
}

// Place writes a place in a log: "binlog.000007:4711".
func Place(file string, pos uint64) string { return file + ":" + strconv.FormatUint(pos, 10) }

// ParsePlace reads "binlog.000007:4711".
func ParsePlace(text string) (file string, pos uint64, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return "", 0, false
	}
	pos, err := strconv.ParseUint(text[i+1:], 10, 64)
	return text[:i], pos, err == nil && pos >= FirstPos
}

// Dump returns the offset to ask a server for, so as to reach Pos.
func (p *Position) Dump() uint32 {
	switch {
	case p.From != 0:
		return uint32(p.From)
	case p.Pos > math.MaxUint32:
		return FirstPos
	}
	return uint32(max(p.Pos, FirstPos))
}

// Covers reports whether having read up to p means having read all that head
// stands for. Two places of different servers, or of log files with different
// names, don't compare: the error wraps ErrPosition.
func (p *Position) Covers(head *Position) (bool, error) {
	if p.Flavor != head.Flavor {
		return false, fmt.Errorf("%w: %v and %v don't compare", ErrPosition, p.Flavor, head.Flavor)
	}
	if p.GTIDs != nil && head.GTIDs != nil {
		return p.GTIDs.Contains(head.GTIDs), nil
	}
	if p.Server != head.Server && p.Server != "" && head.Server != "" {
		return false, fmt.Errorf("%w: %s of server %s and %s of server %s don't compare",
			ErrPosition, p.Place(), p.Server, head.Place(), head.Server)
	}
	c, err := Compare(p.File, p.Pos, head.File, head.Pos)
	return err == nil && c >= 0, err
}

// Compare orders two places of one server's log, as cmp.Compare does. Files are
// ordered by the number at the end of their names, which outgrows its six
// digits. The error wraps ErrPosition.
func Compare(fileA string, posA uint64, fileB string, posB uint64) (int, error) {
	if fileA == fileB {
		return cmp.Compare(posA, posB), nil
	}
	baseA, a, okA := number(fileA)
	baseB, b, okB := number(fileB)
	if !okA || !okB || baseA != baseB {
		return 0, fmt.Errorf("%w: files %q and %q don't compare", ErrPosition, fileA, fileB)
	}
	return cmp.Compare(a, b), nil
}

// number splits "binlog.000003" into "binlog" and 3.
func number(file string) (base string, n uint64, ok bool) {
	i := strings.LastIndexByte(file, '.')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(file[i+1:], 10, 64)
	return file[:i], n, err == nil
}
