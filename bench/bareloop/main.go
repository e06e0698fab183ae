package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bareloop:", err)
		os.Exit(1)
	}
}

// result is the last line of output.
type result struct {
	Rows    int     `json:"rows"`
	Bytes   int     `json:"bytes"` // of bodies
	Seconds float64 `json:"seconds"`
}

func run() error {
	addr := flag.String("addr", "", "host:port of MySQL; root without a password")
	from := flag.String("from", "", "file:position to begin at")
	to := flag.String("to", "", "file:position to end at")
	store := flag.String("store", "", "folder for JetStream")
	ceiling := flag.Int("ceiling", 0, "publish so many messages and read nothing")
	size := flag.Int("size", 430, "bytes of a message of -ceiling")
	flag.Parse()
	js, shutdown, err := broker(*store)
	if err != nil {
		return err
	}
	defer shutdown()
	begin := time.Now()
	l := &loop{js: js, done: make(chan error, 1)}
	if *ceiling > 0 {
		err = l.publishOnly(*ceiling, *size)
	} else {
		err = l.follow(*addr, *from, *to)
	}
	if err != nil {
		return err
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		return errors.New("a minute without acknowledgements")
	}
	return json.NewEncoder(os.Stdout).Encode(result{l.rows, l.bytes, time.Since(begin).Seconds()})
}

// broker starts an embedded server with one stream in files.
func broker(dir string) (js jetstream.JetStream, shutdown func(), err error) {
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true})
	if err != nil {
		return nil, nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, nil, errors.New("the embedded server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, nil, err
	}
	js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		return nil, nil, err
	}
	_, err = js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "CDC", Subjects: []string{"cdc.>"}, Storage: jetstream.FileStorage})
	return js, func() { conn.Close(); s.Shutdown(); s.WaitForShutdown() }, err
}

// stall is how long a publish waits for room among 4,096: on a machine that has
// more to do, the default of 200 ms ends the program.
func stall() jetstream.PublishOpt { return jetstream.WithStallWait(30 * time.Second) }

// loop is the state of the job.
type loop struct {
	js          jetstream.JetStream
	file        string
	to          mysql.Position
	done        chan error
	rows, bytes int
}

func (l *loop) publishOnly(messages, size int) error {
	body := bytes.Repeat([]byte("x"), size)
	for range messages {
		if _, err := l.js.PublishAsync("cdc.bench.t0", body, stall()); err != nil {
			return err
		}
	}
	l.rows, l.bytes = messages, messages*size
	return nil
}

// follow reads the binlog between two places.
func (l *loop) follow(addr, from, to string) error {
	begin, err1 := position(from)
	end, err2 := position(to)
	host, portText, err3 := net.SplitHostPort(addr)
	port, err4 := strconv.ParseUint(portText, 10, 16)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	l.file, l.to = begin.Name, end
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 77001, Flavor: mysql.MySQLFlavor, Host: host, Port: uint16(port), User: "root",
		Logger:                  slog.New(slog.DiscardHandler),
		SynchronousEventHandler: l, EventCacheCount: 1,
	})
	defer syncer.Close()
	if _, err := syncer.StartSync(begin); err != nil {
		return err
	}
	return <-l.done
}

func position(text string) (mysql.Position, error) {
	file, pos, ok := strings.Cut(text, ":")
	n, err := strconv.ParseUint(pos, 10, 32)
	if !ok || err != nil {
		return mysql.Position{}, fmt.Errorf("%q is not file:position", text)
	}
	return mysql.Position{Name: file, Pos: uint32(n)}, nil
}

// HandleEvent is called for each event, in order.
func (l *loop) HandleEvent(e *replication.BinlogEvent) error {
	switch event := e.Event.(type) {
	case *replication.RotateEvent:
		l.file = string(event.NextLogName)
	case *replication.RowsEvent:
		if err := l.publishRows(e.Header, event); err != nil {
			l.end(err)
			return err
		}
	}
	if l.file > l.to.Name || l.file == l.to.Name && e.Header.LogPos >= l.to.Pos {
		l.end(nil)
	}
	return nil
}

func (l *loop) end(err error) {
	select {
	case l.done <- err:
	default: // ended already
	}
}

func (l *loop) publishRows(h *replication.EventHeader, e *replication.RowsEvent) error {
	switch h.EventType {
	case replication.WRITE_ROWS_EVENTv2:
		for _, row := range e.Rows {
			if err := l.publish(h, e, nil, row, "c"); err != nil {
				return err
			}
		}
	case replication.UPDATE_ROWS_EVENTv2:
		for i := 0; i+1 < len(e.Rows); i += 2 {
			if err := l.publish(h, e, e.Rows[i], e.Rows[i+1], "u"); err != nil {
				return err
			}
		}
	case replication.DELETE_ROWS_EVENTv2:
		for _, row := range e.Rows {
			if err := l.publish(h, e, row, nil, "d"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loop) publish(h *replication.EventHeader, e *replication.RowsEvent, before, after []any, op string) error {
	b := make([]byte, 0, 1024)
	b = appendRow(append(b, `{"before":`...), before)
	b = appendRow(append(b, `,"after":`...), after)
	b = append(b, `,"source":{"connector":"mysql","ts_ms":`...)
	b = strconv.AppendInt(b, int64(h.Timestamp)*1000, 10)
	b = append(append(b, `,"db":"bench","table":"`...), e.Table.Table...)
	b = append(append(b, `","file":"`...), l.file...)
	b = strconv.AppendInt(append(b, `","pos":`...), int64(h.LogPos), 10)
	b = append(append(b, `},"op":"`...), op...)
	b = append(b, `"}`...)
	l.rows++
	l.bytes += len(b)
	id := l.file + ":" + strconv.FormatUint(uint64(h.LogPos), 10) + "-" + strconv.Itoa(l.rows)
	_, err := l.js.PublishMsgAsync(&nats.Msg{
		Subject: "cdc.bench." + string(e.Table.Table), Data: b,
		Header: nats.Header{jetstream.MsgIDHeader: []string{id}},
	}, stall())
	return err
}

// columns are those of the tables that bench/load makes.
var columns = [...]string{`{"id":`, `,"k":`, `,"c":`, `,"pad":`}

func appendRow(b []byte, row []any) []byte {
	if row == nil {
		return append(b, "null"...)
	}
	for i, value := range row {
		b = append(b, columns[i]...)
		switch v := value.(type) {
		case int32:
			b = strconv.AppendInt(b, int64(v), 10)
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case string:
			b = strconv.AppendQuote(b, v)
		default:
			b = append(b, "null"...)
		}
	}
	return append(b, '}')
}
