package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/sdk/consume"
)

// document is a row of shop.docs.
type document struct {
	ID   int    `json:"id"`
	Note string `json:"note"`
}

// largeRowsMin are enough of them to say something.
const largeRowsMin = 10

// largeRows writes rows in order, some of them of several MiB, until ctx ends and
// there are enough, and returns the digest of what each write left.
func largeRows(ctx context.Context, t *testing.T, db *testserver.DB, dice *rand.Rand) (digests []string, large int) {
	for id := 1; ctx.Err() == nil || large < largeRowsMin; id++ {
		size, unit := 20+dice.IntN(200), fmt.Sprintf("%08d-%08x ", id, dice.Uint32())
		if id%12 == 5 {
			size = (2 + dice.IntN(3)) << 20
			if large++; large%8 == 3 {
				size = 20 << 20
			}
		}
		count := size/len(unit) + 1
		db.Exec(t, fmt.Sprintf("INSERT INTO shop.docs VALUES (%d, REPEAT('%s', %d))", id, unit, count))
		sum := sha256.Sum256([]byte(fmt.Sprintf("%d %s", id, strings.Repeat(unit, count))))
		digests = append(digests, hex.EncodeToString(sum[:]))
		time.Sleep(time.Duration(dice.IntN(40)) * time.Millisecond)
	}
	return digests, large
}

func claimConfig(t *testing.T, db *testserver.DB, url, policy string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "cdcd.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `version: 1
pipelines:
  shop:
    source: {mysql: {dsn: %q, tables: [shop.docs], snapshot: never}}
    sink: {jetstream: {stream: SHOP, on_too_large: %s}}
server: {listen: "127.0.0.1:%d"}
state: {dir: ./state}
nats: {url: %q}
`, db.DSN(), policy, testserver.Port(t), url), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

// Rows that are many times larger than a message may be, among small ones, while
// cdcd is killed: a service that uses the library reads each once, in order, as
// it was written.
func TestKillWithLargeRows(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and kills cdcd for a minute")
	}
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.docs (id INT PRIMARY KEY, note LONGTEXT) CHARSET latin1")
	ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 1MB"))
	dir, config := claimConfig(t, db, ns.URL(), "claim_check")
	ctx, cancel := context.WithCancel(t.Context())
	type written struct {
		digests []string
		large   int
	}
	done := make(chan written, 1)
	go func() {
		var w written
		w.digests, w.large = largeRows(ctx, t, db, rand.New(rand.NewPCG(1, 9)))
		done <- w
	}()
	dice := rand.New(rand.NewPCG(3, 1))
	var peak int64
	const kills = 25
	for range kills {
		child := program(t, dir, "run", config)
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(300+dice.IntN(1200)) * time.Millisecond)
		peak = max(peak, peakOf(child))
		_ = child.Process.Kill() // gone already: told below
		_ = child.Wait()
		if status := child.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() {
			t.Fatalf("cdcd ended by itself: %v", child.ProcessState)
		}
	}
	cancel()
	w := <-done
	last := program(t, dir, "run", config, "--until", "caught-up")
	if text, err := last.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.4000s", err, text)
	}
	claims := readLargeRows(t, ns.Conn(t), w.digests)
	if claims != w.large || w.large < largeRowsMin {
		t.Errorf("%d bodies came from the object store, of %d large rows", claims, w.large)
	}
	objects, left := objectsIn(t, ns.Conn(t), "SHOP_CLAIMS")
	if objects != w.large {
		t.Errorf("%d objects for %d large rows", objects, w.large)
	}
	t.Logf("%d kills, %d rows, %d of them of 2 to 20 MiB; memory at most %d MiB; %d chunks are of no object", kills, len(w.digests), w.large, peak/mib, left)
}

// peakOf returns the most memory that a process has had.
func peakOf(c *exec.Cmd) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	if err != nil {
		return 0
	}
	var kib int64
	if _, rest, ok := strings.Cut(string(text), "VmHWM:"); ok {
		_, _ = fmt.Sscan(rest, &kib) // 0 where there is none
	}
	return kib << 10
}

// readLargeRows reads the stream as a service does, and returns how many bodies
// came from the object store.
func readLargeRows(t *testing.T, nc *nats.Conn, want []string) (claims int) {
	t.Helper()
	r, err := consume.Open(t.Context(), nc, consume.Config{Stream: "SHOP", UntilCaughtUp: true})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.Run(t.Context(), func(_ context.Context, tx *consume.Tx) error {
		for _, m := range tx.Messages {
			c, err := consume.Decode[document](m)
			if err != nil {
				return err
			}
			sum := sha256.Sum256([]byte(fmt.Sprintf("%d %s", c.After.ID, c.After.Note)))
			if n >= len(want) || hex.EncodeToString(sum[:]) != want[n] {
				return fmt.Errorf("row %d of %d: %d bytes with id %d are not what was written", n, len(want), len(c.After.Note), c.After.ID)
			}
			if n++; m.Claim != nil {
				claims++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(want) {
		t.Errorf("%d rows came, %d were written", n, len(want))
	}
	return claims
}

// objectsIn returns how many objects an object store has, and how many chunks
// that are of none: what a kill inside writing leaves.
func objectsIn(t *testing.T, nc *nats.Conn, bucket string) (objects, left int) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.ObjectStore(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "OBJ_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	left = int(st.CachedInfo().State.Msgs) - len(list)
	for _, o := range list {
		left -= int(o.Chunks)
	}
	return len(list), left
}

// With dead_letter a large row is kept whole beside the sink, with the reason, and
// the rows around it are delivered: by each kind of sink that has such a limit.
func TestLargeRowsAreDeadLetters(t *testing.T) {
	db := testserver.MySQL(t)
	db.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.docs (id INT PRIMARY KEY, note LONGTEXT) CHARSET latin1",
		"INSERT INTO shop.docs VALUES (1, 'a')", "INSERT INTO shop.docs VALUES (2, REPEAT('b', 3000000)), (3, 'c')")
	for _, kind := range []struct {
		name, sink string
		delivered  func(*testing.T, *nats.Conn) func() // called before the runs, and then behind them
	}{
		{"jetstream", "jetstream: {stream: SHOP,", func(t *testing.T, nc *nats.Conn) func() {
			return func() { readLargeRows(t, nc, []string{docDigest("1 a"), docDigest("3 c")}) }
		}},
		{"kv", "kv: {bucket: shop,", func(t *testing.T, nc *nats.Conn) func() {
			return func() {
				js, err := jetstream.New(nc)
				if err != nil {
					t.Fatal(err)
				}
				kv, err := js.KeyValue(t.Context(), "shop")
				if err != nil {
					t.Fatal(err)
				}
				keys, err := kv.Keys(t.Context())
				slices.Sort(keys)
				if err != nil || !slices.Equal(keys, []string{"shop.docs.1", "shop.docs.3"}) {
					t.Errorf("the bucket has %q: %v", keys, err)
				}
			}
		}},
		{"nats", "nats: {delivery: at_most_once,", func(t *testing.T, nc *nats.Conn) func() {
			sub, err := nc.SubscribeSync("cdc.shop.shop.docs")
			if err == nil {
				err = nc.Flush()
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				ids := map[string]bool{}
				for !ids["3"] {
					m, err := sub.NextMsg(time.Minute)
					if err != nil {
						t.Fatalf("after %v: %v", ids, err)
					}
					_, id, _ := strings.Cut(string(m.Data), `"after":{"id":`)
					ids[id[:min(1, len(id))]] = true
				}
				if !ids["1"] || ids["2"] {
					t.Errorf("rows %v came", ids)
				}
			}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			ns := testserver.NATS(t, testserver.NATSConfig("max_payload: 1MB"))
			dir, config := claimConfig(t, db, ns.URL(), "halt")
			rewrite(t, config, "jetstream: {stream: SHOP,", kind.sink)
			delivered := kind.delivered(t, ns.Conn(t))
			halted := program(t, dir, "run", config, "--until", "caught-up")
			if text, err := halted.CombinedOutput(); err == nil || !strings.Contains(string(text), "message_too_large") || !strings.Contains(string(text), "on_too_large") {
				t.Fatalf("%v\n%s", err, text)
			}
			rewrite(t, config, "on_too_large: halt", "on_too_large: dead_letter") // the way out that the hint names
			if text, err := program(t, dir, "run", config, "--until", "caught-up").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			delivered()
			keptWhole(t, dir, config)
		})
	}
}

// keptWhole looks for the one dead letter.
func keptWhole(t *testing.T, dir, config string) {
	t.Helper()
	list, err := program(t, dir, "dlq", "list", config, "--json").CombinedOutput()
	if err != nil || strings.Count(string(list), "\n") != 1 || !strings.Contains(string(list), `"step":"_sink"`) || !strings.Contains(string(list), "the sink takes") {
		t.Fatalf("%v\n%s", err, list)
	}
	_, id, _ := strings.Cut(string(list), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	show, err := program(t, dir, "dlq", "show", config, id, "--json").CombinedOutput()
	if err != nil || strings.Count(string(show), "b") < 3000000 {
		t.Fatalf("%v\n%.1000s", err, show)
	}
}

// rewrite changes a file.
func rewrite(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func docDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
