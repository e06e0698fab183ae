package mysql

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
	"github.com/cdcd-io/cdcd/cdc/mysql/replica"
	"github.com/cdcd-io/cdcd/cdc/mysql/tables"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
)

// Config is what stands under `source: mysql:`. It serves MySQL and MariaDB.
type Config struct {
	// DSN is mysql://user:password@host:3306/?tls=preferred; several hosts are
	// separated by commas, and tried in turn. Special characters in user and password are percent-encoded. tls is true (verified, against
	// tls_ca=file.pem or the system's authorities), skip-verify, preferred (the
	// default: encrypted where the server can) or false.
	DSN unit.Secret `yaml:"dsn" doc:"mysql://user:password@host:3306/?tls=preferred"`
	// Tables are patterns "db.table" with * for any run of characters; see
	// package tables for letter case and quoting.
	Tables []string `yaml:"tables" doc:"followed tables: db.table, with * for any run of characters"`
	// Snapshot says what is done with what is in the tables already: "never" (the
	// default) reads changes alone; "initial" copies the tables beside the stream
	// of their changes, and goes on with those; "only" ends when the tables are
	// copied, and with them what changed meanwhile.
	Snapshot string `yaml:"snapshot" doc:"what is in the tables already: never, initial, or only (end when it is copied)"`
	// SnapshotOptions say how tables are copied.
	SnapshotOptions SnapshotOptions `yaml:"snapshot_options" doc:"how tables are copied"`
	// Start is where a pipeline without history begins: "earliest" (the default:
	// the oldest log that the server still has), "latest", a place such as
	// "binlog.000003:157", or a set of GTIDs that were executed. With a snapshot it
	// does not matter: reading then begins at the log's end.
	Start string `yaml:"start" doc:"where a pipeline without history begins: earliest, latest, file:position, or GTIDs"`
	// Mode is "gtid", "file", or "auto" (the default): GTIDs where the server
	// has them.
	Mode string `yaml:"mode" doc:"auto, gtid or file"`
	// ServerID identifies this reader among the server's replicas; 0 (the
	// default) derives one from the pipeline's name.
	ServerID uint32 `yaml:"server_id" doc:"id among the server's replicas; 0 derives one from the pipeline's name"`
	// RateLimit bounds the speed of reading.
	RateLimit RateLimit `yaml:"rate_limit" doc:"bounds the speed of reading"`
	// HeartbeatInterval is after how long without changes the server says that
	// it is there. Default 2s.
	HeartbeatInterval unit.Duration `yaml:"heartbeat_interval" doc:"silence after which the server says that it is there"`
	// OnLostPosition says what happens when the server has purged the log at
	// which reading must go on: "halt" (the default), or "resnapshot": the tables
	// are copied anew, which takes Snapshot "initial". Rows that were deleted in
	// the part that is lost are not told.
	OnLostPosition string `yaml:"on_lost_position" doc:"when the server has purged the log at which reading must go on: halt, or resnapshot (copy the tables anew)"`
	// EventBytesMax bounds one event of the log. Default 64MiB.
	EventBytesMax unit.Bytes `yaml:"event_bytes_max" doc:"largest event of the log"`
	// OnLargeEvent says what happens with rows of followed tables in an event
	// beyond EventBytesMax: "halt" (the default), or "gap": they are left out, and
	// on record in the ledger of gaps.
	OnLargeEvent string `yaml:"on_large_event" doc:"halt, or gap: leave out the rows of an event beyond event_bytes_max and put them on record"`
}

// RateLimit bounds how fast a source reads; 0 means no limit.
type RateLimit struct {
	RowsPerSecond  int64      `yaml:"rows_per_second" doc:"followed rows; 0 for no limit"`
	BytesPerSecond unit.Bytes `yaml:"bytes_per_second" doc:"bytes of log; 0 for no limit"`
}

// The modes of reading.
const (
	modeAuto = "auto"
	modeGTID = "gtid"
	modeFile = "file"
)

// The words for what happens with an event that is too large.
const (
	largeEventHalt = "halt"
	largeEventGap  = "gap"
)

// The words for a start.
const (
	startEarliest = "earliest"
	startLatest   = "latest"
)

// Default returns a Config with its defaults.
func Default() *Config {
	return &Config{Snapshot: snapshotNever, SnapshotOptions: defaultSnapshot(), Start: startEarliest, Mode: modeAuto, HeartbeatInterval: unit.Duration(2 * time.Second),
		OnLostPosition: lostHalt, EventBytesMax: binlog.EventBytesMax, OnLargeEvent: largeEventHalt}
}

// fill gives empty fields their defaults.
func (c *Config) fill() {
	d := Default()
	for _, f := range []struct{ field, value *string }{{&c.Snapshot, &d.Snapshot}, {&c.Start, &d.Start},
		{&c.Mode, &d.Mode}, {&c.OnLostPosition, &d.OnLostPosition}, {&c.OnLargeEvent, &d.OnLargeEvent}} {
		if *f.field == "" {
			*f.field = *f.value
		}
	}
	c.SnapshotOptions.fill()
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = d.HeartbeatInterval
	}
	if c.EventBytesMax == 0 {
		c.EventBytesMax = d.EventBytesMax
	}
}

// Validate checks what can be checked without the server. Paths are keys.
func (c *Config) Validate() []*fault.Fault {
	v := *c
	v.fill()
	_, faults := tables.New(v.Tables)
	refuse := func(code, path, hint, format string, args ...any) {
		faults = append(faults, fault.New(fault.Config, code, path, hint, format, args...))
	}
	if v.DSN.IsZero() {
		refuse("dsn_invalid", "dsn", "write dsn: ${env:NAME} and set NAME to mysql://user:password@host:3306", "no server is named")
	} else if _, err := replica.Targets(v.DSN.Reveal()); err != nil {
		refuse("dsn_invalid", "dsn", "write it as mysql://user:password@host:3306, special characters percent-encoded", "%w", err)
	}
	switch v.Snapshot {
	case snapshotNever, snapshotInitial, snapshotOnly:
	default:
		refuse("snapshot_invalid", "snapshot", "write snapshot: initial, only or never", "%q is not known", v.Snapshot)
	}
	v.SnapshotOptions.validate(refuse)
	switch v.Mode {
	case modeAuto, modeGTID, modeFile:
	default:
		refuse("mode_invalid", "mode", "write mode: auto, gtid or file", "%q is not known", v.Mode)
	}
	if _, err := parseStart(v.Start); err != nil {
		refuse("start_invalid", "start", `write start: earliest, latest, a place such as "binlog.000003:157", or a set of GTIDs`, "%w", err)
	}
	switch v.OnLostPosition {
	case lostHalt:
	case lostResnapshot:
		if v.Snapshot != snapshotInitial {
			refuse("on_lost_position_invalid", "on_lost_position", "write snapshot: initial, or on_lost_position: halt",
				"resnapshot with snapshot: %s", v.Snapshot)
		}
	default:
		refuse("on_lost_position_invalid", "on_lost_position", "write on_lost_position: halt or resnapshot", "%q is not known", v.OnLostPosition)
	}
	if v.OnLargeEvent != largeEventHalt && v.OnLargeEvent != largeEventGap {
		refuse("on_large_event_invalid", "on_large_event", "write on_large_event: halt or gap", "%q is not known", v.OnLargeEvent)
	}
	if v.RateLimit.RowsPerSecond < 0 {
		refuse("rate_limit_invalid", "rate_limit.rows_per_second", "write a number of rows, or leave it out", "a rate below 0")
	}
	if h := v.HeartbeatInterval.Std(); h < 100*time.Millisecond || h > 10*time.Minute {
		refuse("heartbeat_interval_invalid", "heartbeat_interval", "write a time from 100ms to 10m", "%v is out of range", v.HeartbeatInterval)
	}
	if v.EventBytesMax < 1<<20 || v.EventBytesMax > 1<<30 {
		refuse("event_bytes_max_invalid", "event_bytes_max", "write a size from 1MiB to 1GiB", "%v is out of range", v.EventBytesMax)
	}
	return faults
}

// parseStart reads a start that is not a word; for a word it returns nil.
func parseStart(text string) (*position.Position, error) {
	if text == startEarliest || text == startLatest {
		return nil, nil
	}
	if set, err := gtid.Parse(gtid.MySQL, text); err == nil && !set.IsEmpty() {
		return &position.Position{Flavor: gtid.MySQL, GTIDs: set}, nil
	}
	if set, err := gtid.Parse(gtid.MariaDB, text); err == nil && !set.IsEmpty() {
		return &position.Position{Flavor: gtid.MariaDB, GTIDs: set}, nil
	}
	if file, pos, ok := position.ParsePlace(text); ok && !strings.ContainsAny(file, " ,") {
		return &position.Position{File: file, Pos: pos}, nil
	}
	return nil, fmt.Errorf("%.100q is neither a place nor a set of GTIDs", text)
}

// serverID derives the id of a pipeline's reader: stable, and far from the small
// numbers that people give to servers.
func serverID(pipeline string) uint32 {
	sum := sha256.Sum256([]byte("cdcd server id " + pipeline))
	return binary.LittleEndian.Uint32(sum[:])>>2 | 1<<30
}

// Kind is the source's kind: the key mysql, for both servers.
func Kind() cdc.Kind {
	return cdc.Kind{
		Name:      "mysql",
		NewConfig: func() any { return Default() },
		Open: func(config any, env cdc.Env) (cdc.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("mysql: a configuration of type %T", config)
			}
			return New(*c, env)
		},
		Examine: examineServer,
		FromDSN: fromDSN,
	}
}

// TableFilter returns the patterns of the tables that the source follows: what
// its messages depend on, besides the log.
func (c *Config) TableFilter() []string { return c.Tables }

// Ends reports whether the source ends by itself, and copies the tables anew when
// it is run again.
func (c *Config) Ends() bool { return c.Snapshot == snapshotOnly }

// WithTableFilter returns a *Config that follows other tables.
func (c *Config) WithTableFilter(tables []string) any {
	other := *c
	other.Tables = tables
	return &other
}
