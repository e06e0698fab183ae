package replica

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/cdc/mysql/position"
)

// Hooks are called from within Stream.Next, in the goroutine that called it.
type Hooks struct {
	// Drained is called when nothing more is buffered, before a read blocks.
	Drained func() error
	// Limit is told, before more is read, how many bytes were; nil for no limit.
	Limit func(bytes int) error
	// ReadMax bounds one read, so that a low limit is kept from the start; 0 for
	// no bound.
	ReadMax int
}

// DumpOptions say what to ask of the server.
type DumpOptions struct {
	ServerID      uint32
	Name          string        // of the reader; with ServerID it makes the uuid by which servers tell replicas apart
	Heartbeat     time.Duration // silence after which the server says that it is there
	EventBytesMax int
	Hooks         Hooks
}

// Silence of the server beyond its heartbeat that counts as a lost connection,
// and how long it is asked to wait for us when we read slowly.
const (
	quietMin       = 30 * time.Second
	writeTimeout   = 24 * time.Hour
	commandBufSize = 64
)

// Stream is a connection on which the server sends its log.
type Stream struct {
	c       *Conn
	packets packets
}

// Dump turns the connection into a stream of the log behind from. The stream
// takes the connection over; on an error it is closed.
func Dump(ctx context.Context, c *Conn, from *position.Position, o DumpOptions) (*Stream, error) {
	s := &Stream{c: c}
	if err := s.start(ctx, from, o); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.c.Sequence = 0
	c.sock.hooks = &o.Hooks
	c.sock.quiet = max(quietMin, 4*o.Heartbeat)
	s.packets = packets{r: bufio.NewReaderSize(c.c.Conn.Conn, readBytes), seq: 1, max: o.EventBytesMax}
	return s, nil
}

func (s *Stream) start(ctx context.Context, from *position.Position, o DumpOptions) error {
	c := s.c
	if err := session(ctx, c, from, o); err != nil {
		return err
	}
	if err := c.sock.SetDeadline(time.Now().Add(queryTimeout)); err != nil {
		return err
	}
	return guarded(ctx, func() { c.sock.Conn.Close() }, func() error {
		if err := c.register(o.ServerID); err != nil {
			return err
		}
		if err := c.write(dumpCommand(from, o.ServerID)); err != nil {
			return fmt.Errorf("ask for the log: %w", err)
		}
		return c.sock.SetDeadline(time.Time{})
	})
}

// openingMax is how many events may come before a log file's format description.
const openingMax = 4

// Born returns when the server began a log file, in seconds since the Unix
// epoch: the time of the file's format description. It takes the connection
// over and closes it.
func Born(ctx context.Context, c *Conn, file string, o DumpOptions) (uint32, error) {
	o.Hooks = Hooks{Drained: func() error { return nil }}
	s, err := Dump(ctx, c, &position.Position{Flavor: c.Flavor(), File: file, Pos: position.FirstPos}, o)
	if err != nil {
		return 0, err
	}
	var born uint32
	err = guarded(ctx, s.Interrupt, func() error {
		for range openingMax {
			raw, err := s.Next()
			if err != nil {
				return err
			}
			const formatDescription, kind = 15, 4
			if raw[kind] == formatDescription {
				born = binary.LittleEndian.Uint32(raw)
				return nil
			}
		}
		return fmt.Errorf("log file %s has no format description", file)
	})
	_ = s.Close() // nothing of it is needed any more
	return born, err
}

// Register announces the connection as a replica, which the server allows only
// to an account with the privilege REPLICATION SLAVE.
func (c *Conn) Register(ctx context.Context, serverID uint32) error {
	return guarded(ctx, func() { c.sock.Conn.Close() }, func() error {
		if err := c.sock.SetDeadline(time.Now().Add(queryTimeout)); err != nil {
			return err
		}
		if err := c.register(serverID); err != nil {
			return err
		}
		return c.sock.SetDeadline(time.Time{})
	})
}

func (c *Conn) register(serverID uint32) error {
	if err := c.write(registerCommand(serverID)); err != nil {
		return fmt.Errorf("register as replica: %w", err)
	}
	if _, err := c.c.ReadOKPacket(); err != nil {
		return fmt.Errorf("register as replica: %w", err)
	}
	return nil
}

// session sets what the server wants to know of a replica.
func session(ctx context.Context, c *Conn, from *position.Position, o DumpOptions) error {
	id := uuid(o.Name, o.ServerID)
	set := []string{
		// Events come with the checksums that they have in the log.
		"SET @master_binlog_checksum=@@global.binlog_checksum, @source_binlog_checksum=@@global.binlog_checksum",
		fmt.Sprintf("SET @master_heartbeat_period=%d, @source_heartbeat_period=%d", o.Heartbeat.Nanoseconds(), o.Heartbeat.Nanoseconds()),
		fmt.Sprintf("SET @slave_uuid='%s', @replica_uuid='%s'", id, id),
		// A slow reader is held back by TCP, not thrown out.
		fmt.Sprintf("SET SESSION net_write_timeout=%d, SESSION net_read_timeout=%d",
			int(writeTimeout.Seconds()), int(writeTimeout.Seconds())),
	}
	if c.Flavor() == gtid.MariaDB {
		set = append(set, "SET @mariadb_slave_capability=4") // understands GTIDs
		if from.GTIDs != nil {
			set = append(set, "SET @slave_connect_state="+Quote(from.GTIDs.String()),
				"SET @slave_gtid_strict_mode=1", "SET @slave_gtid_ignore_duplicates=0")
		}
	}
	for _, sql := range set {
		if _, err := c.Query(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// uuid derives the replica's uuid: stable, so that a server which still feeds a
// connection that we lost ends it when we come again.
func uuid(name string, serverID uint32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "cdcd replica %d %s", serverID, name))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // version 8: made by own rules
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// write sends a command; its first four bytes are room for the packet's header.
func (c *Conn) write(data []byte) error {
	c.c.ResetSequence()
	return c.c.WritePacket(data)
}

// registerCommand is COM_REGISTER_SLAVE: id, host, user and password (left
// empty), port, rank, source id.
func registerCommand(serverID uint32) []byte {
	host, err := os.Hostname()
	if err != nil || len(host) > 60 {
		host = "cdcd"
	}
	le, b := binary.LittleEndian, make([]byte, 4, commandBufSize+len(host))
	b = le.AppendUint32(append(b, mysql.COM_REGISTER_SLAVE), serverID)
	b = append(append(b, byte(len(host))), host...)
	b = append(b, 0, 0)
	b = le.AppendUint16(b, 0)
	return le.AppendUint32(le.AppendUint32(b, 0), 0)
}

// dumpCommand is COM_BINLOG_DUMP_GTID for a MySQL position with GTIDs, else
// COM_BINLOG_DUMP. MariaDB takes GTIDs from the session and ignores the place.
func dumpCommand(from *position.Position, serverID uint32) []byte {
	le, b := binary.LittleEndian, make([]byte, 4, commandBufSize)
	if from.GTIDs != nil && from.Flavor == gtid.MySQL {
		set := from.GTIDs.Encode()
		b = le.AppendUint16(append(b, mysql.COM_BINLOG_DUMP_GTID), 0)
		b = le.AppendUint32(le.AppendUint32(b, serverID), 0) // no file's name
		b = le.AppendUint64(b, position.FirstPos)
		return append(le.AppendUint32(b, uint32(len(set))), set...)
	}
	file, pos := from.File, from.Dump()
	if from.GTIDs != nil {
		file, pos = "", position.FirstPos
	}
	b = le.AppendUint32(append(b, mysql.COM_BINLOG_DUMP), pos)
	b = le.AppendUint32(le.AppendUint16(b, 0), serverID)
	return append(b, file...)
}

// Next returns the next raw event: a view, good until the next call. It blocks
// until one comes; ctx ends it. An error of the server is a *mysql.MyError.
func (s *Stream) Next() ([]byte, error) {
	raw, err := s.packets.next()
	if p, ok := errors.AsType[errPacket](err); ok {
		return nil, s.c.c.HandleErrorPacket(p.payload)
	}
	return raw, err
}

// Interrupt makes a Next that blocks, in another goroutine, return an error.
func (s *Stream) Interrupt() { s.c.sock.Conn.Close() }

// Close closes the connection.
func (s *Stream) Close() error { return s.c.Close() }
