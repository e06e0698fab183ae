package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/oracle"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk/golden"
)

// newKeeper writes the configuration. The step refuses a good part of the rows of
// shop.blobs, some of which have values of over 64 KiB beside them.
func newKeeper(t *testing.T, db *testserver.DB, broker *testserver.NATSServer) *keeper {
	t.Helper()
	k := &keeper{t: t, db: db, broker: broker, dir: t.TempDir()}
	k.config = filepath.Join(k.dir, "cdcd.yaml")
	connection := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	k.url = "nats://" + connection
	connection = fmt.Sprintf("{embedded: {listen: %q}}", connection)
	if broker != nil {
		k.url = broker.URL()
		connection = fmt.Sprintf("{url: %q}", k.url)
	}
	k.connection, k.listen = connection, fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
	k.write("upper.wasm", golden.Guests()[0].Module)
	k.refuse(150)
	t.Cleanup(k.kill)
	return k
}

// refuseNone is longer than any note.
const refuseNone = 1 << 20

// refuse writes the configuration: the step refuses longer notes than that.
func (k *keeper) refuse(bytesMax int) {
	k.t.Helper()
	k.write("cdcd.yaml", fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source:
      mysql: {dsn: %q, tables: [%s], snapshot: never}
    steps:
      - {wasm: ./upper.wasm, name: short, only: [shop.blobs], with: {column: note, bytes_max: %d}, on_error: dead_letter}
      - {wasm: number, allow: [kv]}
    sink: {jetstream: {stream: SHOP, format: json, max_age: 1d}}
server: {listen: %q}
state: {dir: ./state}
nats: %s
`, k.db.UserDSN("cdcd", "secret"), strings.Join(oracle.Tables(), ", "), bytesMax, k.listen, k.connection))
}

// made is all that a pipeline has made of a log.
type made struct {
	messages []string // data: subject, what the step with state said, body
	dead     []string // dead letters, without when and in which batch
}

// made asks the stopped pipeline, then starts it and asks again.
func (k *keeper) made() (m made) {
	k.t.Helper()
	m.dead = k.deadLetters()
	k.start()
	defer k.kill()
	k.eventually("the stream", func() error {
		conn, err := nats.Connect(k.url)
		if err != nil {
			return err
		}
		defer conn.Close()
		m.messages = nil
		_, err = oracle.Read(k.t.Context(), conn, "SHOP", func(msg oracle.Message) {
			if len(msg.Header["Cdc-Kind"]) == 0 {
				m.messages = append(m.messages, fmt.Sprintf("%s %v %s", msg.Subject, msg.Header["Row-Change"], msg.Body))
			}
		})
		return err
	})
	same(k.t, "dead letter that the daemon tells", k.deadLetters(), m.dead)
	return m
}

func (k *keeper) deadLetters() (dead []string) {
	k.t.Helper()
	k.eventually("the dead letters", func() error { // a daemon has the directory before it listens
		text, err := program(k.t, k.dir, "dlq", "list", k.config, "--json", "--limit", "1000000").Output()
		dead = nil
		for line := range strings.Lines(string(text)) {
			d := map[string]any{}
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				return err
			}
			for _, differs := range []string{"time", "position", "bytes"} {
				delete(d, differs)
			}
			dead = append(dead, fmt.Sprint(d))
		}
		return err
	})
	return dead
}

// Whatever is killed, and whenever: each row is in a message or is a dead letter,
// and what the steps kept is what one undisturbed run over the same log has kept.
func TestKillWithDeadLetters(t *testing.T) {
	whateverIsKilled(t, 200, func(t *testing.T, k *keeper, w *oracle.Workload, kills int, dice *rand.Rand) {
		k.underLoad(w, kills, dice, nil)
		k.catchUp(time.Minute + time.Duration(kills)*5*time.Second)
		once := newKeeper(t, k.db, nil) // reads the whole log, with a state of its own
		once.catchUp(2*time.Minute + time.Duration(kills)*5*time.Second)
		got, want := k.made(), once.made()
		same(t, "message", got.messages, want.messages)
		same(t, "dead letter", got.dead, want.dead)
		if len(want.dead) < 10 || len(want.messages) < 3*len(want.dead) {
			t.Errorf("%d messages and %d dead letters: too few to say anything", len(want.messages), len(want.dead))
		}
		for _, d := range want.dead {
			if !strings.Contains(d, "table:shop.blobs") || !strings.Contains(d, "bytes, more than 150") {
				t.Errorf("a row that should have come through: %s", d)
			}
		}
		t.Logf("%d kills, workload %+v: %d messages, %d dead letters", kills, w.Stats(), len(got.messages), len(got.dead))
	})
}
