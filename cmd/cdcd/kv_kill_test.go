package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk/consume"
)

// newBucketPipeline writes the configuration of a pipeline whose sink is a bucket.
func newBucketPipeline(t *testing.T, db *testserver.DB, broker *testserver.NATSServer) *keeper {
	t.Helper()
	k := &keeper{t: t, db: db, broker: broker, dir: t.TempDir(), url: broker.URL()}
	k.config = filepath.Join(k.dir, "cdcd.yaml")
	if err := os.WriteFile(k.config, fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source:
      mysql: {dsn: %q, tables: [shop.*], snapshot: initial}
    sink: {kv: {bucket: shop}}
server: {listen: "127.0.0.1:%d"}
state: {dir: ./state}
nats: {url: %q}
`, db.UserDSN("cdcd", "secret"), testserver.Port(t), k.url), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.kill)
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(k.dir, "output")); err == nil && t.Failed() {
			t.Logf("end of the output:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return k
}

// bucketLoad changes three tables in every way. Each write has a number of its
// own in v, so that a value tells when it was made.
type bucketLoad struct {
	db  *testserver.DB
	rng *rand.Rand
	v   int
}

func (l *bucketLoad) one(t *testing.T) {
	l.v++
	id, to := l.rng.IntN(150), l.rng.IntN(150)
	switch l.rng.IntN(14) {
	case 0, 1, 2:
		l.db.Exec(t, fmt.Sprintf("REPLACE INTO shop.items VALUES (%d, 'a.b *>=%d', %d, 'ü', '1.50')", id, id%3, l.v))
	case 3, 4, 5, 6:
		l.db.Exec(t, fmt.Sprintf("UPDATE shop.items SET v = %d, note = IF(v %% 2, NULL, 'x\"') WHERE id = %d", l.v, id))
	case 7:
		l.db.Exec(t, fmt.Sprintf("UPDATE IGNORE shop.items SET v = %d, id = %d WHERE id = %d", l.v, to, id))
	case 8:
		l.db.Exec(t, fmt.Sprintf("DELETE FROM shop.items WHERE id = %d", id))
	case 9, 10:
		l.db.Exec(t, fmt.Sprintf("REPLACE INTO shop.bins VALUES (UNHEX('%02x00ff2e'), %d)", id, l.v))
	case 11:
		l.db.Exec(t, fmt.Sprintf("UPDATE IGNORE shop.bins SET k = UNHEX('%02x2e'), v = %d WHERE k = UNHEX('%02x00ff2e')", l.v%251, l.v, id))
	case 12:
		l.db.Exec(t, fmt.Sprintf("REPLACE INTO shop.temp VALUES ('', %d), (' %d', %d)", l.v, id, l.v))
	default:
		if l.rng.IntN(4) == 0 {
			l.db.Exec(t, "TRUNCATE TABLE shop.temp")
		}
	}
}

// bucketWatch is a reader of the bucket, who notes each update.
type bucketWatch struct {
	mu      sync.Mutex
	updates int
	next    uint64         // sequence of the stream
	version map[string]int // v of the last put, by key
	wrong   []string
}

// watchBucket watches until ctx ends. It asks for what is behind the last update
// that it has seen, again whenever the server was killed: an ordered consumer of
// the client library takes ten seconds to notice.
func watchBucket(ctx context.Context, t *testing.T, nc *nats.Conn) *bucketWatch {
	t.Helper()
	bucketOf(t, nc) // is there
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	w := &bucketWatch{next: 1, version: map[string]int{}}
	go func() {
		for ctx.Err() == nil {
			c, err := js.CreateConsumer(ctx, "KV_shop", jetstream.ConsumerConfig{FilterSubject: "$KV.shop.>", AckPolicy: jetstream.AckNonePolicy,
				DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: w.next, MemoryStorage: true, InactiveThreshold: time.Minute})
			for err == nil && ctx.Err() == nil {
				var batch jetstream.MessageBatch
				if batch, err = c.Fetch(100, jetstream.FetchMaxWait(time.Second), jetstream.FetchHeartbeat(400*time.Millisecond)); err != nil {
					break
				}
				for m := range batch.Messages() {
					w.note(m)
				}
				if err = batch.Error(); err == nil {
					_, err = c.Info(ctx)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return w
}

// seen returns how many updates there were.
func (w *bucketWatch) seen() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.updates
}

// note compares an update with the one before it of the same key: nothing comes
// twice, and nothing steps back. The copy may say again what a change said.
func (w *bucketWatch) note(m jetstream.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	meta, err := m.Metadata()
	if err != nil || meta.Sequence.Stream < w.next {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %+v where %d was next: %v", m.Subject(), meta, w.next, err))
		return
	}
	w.updates++
	w.next = meta.Sequence.Stream + 1
	if m.Headers().Get("KV-Operation") != "" {
		return
	}
	var row struct{ V int }
	if err := json.Unmarshal(m.Data(), &row); err != nil || row.V < w.version[m.Subject()] {
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s behind v %d: %v", m.Subject(), m.Data(), w.version[m.Subject()], err))
	}
	w.version[m.Subject()] = row.V
}

func bucketOf(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var b jetstream.KeyValue
	for range 300 {
		if b, err = js.KeyValue(t.Context(), "shop"); err == nil {
			return b
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal(err)
	return nil
}

// inBucket is what the bucket has: rows by table and key, as text.
func inBucket(t *testing.T, nc *nats.Conn) map[string]string {
	t.Helper()
	got := map[string]string{}
	w, err := bucketOf(t, nc).WatchAll(t.Context(), jetstream.IgnoreDeletes())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.Updates() {
		if e == nil {
			break
		}
		key, err := consume.ParseKey(e.Key())
		if err != nil {
			t.Fatal(err)
		}
		if key.String() != e.Key() {
			t.Errorf("the key %s reads as %q, and that is written %s", e.Key(), key, key.String())
		}
		var row struct {
			V     int
			Note  *string
			Price string
		}
		if err := json.Unmarshal(e.Value(), &row); err != nil {
			t.Fatal(err)
		}
		note := "NULL"
		if row.Note != nil {
			note = *row.Note
		}
		got[fmt.Sprintf("%s %q", key.Table, key.Values)] = fmt.Sprint(row.V, " ", note, " ", row.Price)
	}
	return got
}

// inTables is the same, as the database says it.
func inTables(t *testing.T, db *testserver.DB) map[string]string {
	t.Helper()
	want := map[string]string{}
	for _, r := range db.Query(t, "SELECT id, part, v, COALESCE(note, 'NULL'), price FROM shop.items") {
		want[fmt.Sprintf("items %q", r[:2])] = strings.Join(r[2:], " ")
	}
	for _, r := range db.Query(t, "SELECT k, v FROM shop.bins") {
		want[fmt.Sprintf("bins %q", r[:1])] = r[1] + " NULL "
	}
	for _, r := range db.Query(t, "SELECT name, v FROM shop.temp") {
		want[fmt.Sprintf("temp %q", r[:1])] = r[1] + " NULL "
	}
	return want
}

// The daemon and the broker are killed again and again while tables change and
// are copied: at the end the bucket is the tables, and nobody who watched it saw
// a key step back.
func TestBucketEqualsTables(t *testing.T) {
	testserver.Each(t, func(t *testing.T, db *testserver.DB) {
		broker := testserver.NATS(t)
		db.CreateUser(t, "cdcd", "secret")
		db.Exec(t, "CREATE DATABASE shop",
			"CREATE TABLE shop.items (id INT, part VARCHAR(40), v BIGINT, note VARCHAR(40) CHARACTER SET utf8mb4, price DECIMAL(9,2), PRIMARY KEY (id, part))",
			"CREATE TABLE shop.bins (k VARBINARY(12) PRIMARY KEY, v BIGINT)",
			"CREATE TABLE shop.temp (name VARCHAR(40) PRIMARY KEY, v BIGINT)")
		load := &bucketLoad{db: db, rng: rand.New(rand.NewPCG(7, 7))}
		for range 400 {
			load.one(t)
		}
		k := newBucketPipeline(t, db, broker)
		k.start()
		nc := broker.Conn(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		watch := watchBucket(ctx, t, nc)
		kills := 14
		if testing.Short() {
			kills = 5
		}
		for i := range kills {
			for end := time.Now().Add(time.Duration(150+load.rng.IntN(350)) * time.Millisecond); time.Now().Before(end); {
				load.one(t)
			}
			if i%3 == 2 {
				broker.Kill()
				load.one(t)
				broker.Restart(t)
			} else {
				k.kill()
				load.one(t)
				k.start()
			}
		}
		// Nobody writes any more. What comes last is not known: where cdcd was killed in
		// its start each time, it copies the tables now.
		want := inTables(t, db)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			diff := cmp.Diff(want, inBucket(t, nc))
			if diff == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%d rows; the bucket differs:\n%s", len(want), diff)
				break
			}
		}
		// Of a key that changes often, who is slow sees the last values alone.
		for deadline := time.Now().Add(time.Minute); watch.seen() < len(want) && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		}
		stop()
		watch.mu.Lock()
		defer watch.mu.Unlock()
		if len(watch.wrong) > 0 || watch.updates < len(want) {
			t.Errorf("of %d updates: %q", watch.updates, watch.wrong)
		}
		t.Logf("%d rows, %d writes, %d updates seen, %d kills", len(want), load.v, watch.updates, kills)
		if err := k.child.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("cdcd is not there any more: %v", err)
		}
	})
}
