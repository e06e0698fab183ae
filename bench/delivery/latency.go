package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/bench/jobs"
	"github.com/cdcd-io/cdcd/bench/load"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// The load: so many changes a second, each a transaction, by so many sessions.
const (
	changesPerSecond = 1000
	sessions         = 4
)

// trip is the times of one change.
type trip struct{ committed, arrived time.Time }

// trips is what is known of the changes, by id.
type trips struct {
	mu   sync.Mutex
	byID map[int64]*trip
}

func (t *trips) note(id int64, set func(*trip)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[id] == nil {
		t.byID[id] = &trip{}
	}
	set(t.byID[id])
}

// latency runs the daemon, makes changes, and consumes them, in one process and
// so with one clock.
func (f *figures) latency(h *host.Host, s *jobs.Source, cdcd string, seconds int) {
	s.DB.Exec(h, "CREATE TABLE "+load.DB+".quick (id BIGINT PRIMARY KEY, v CHAR(200) NOT NULL) CHARACTER SET latin1")
	addr := fmt.Sprintf("127.0.0.1:%d", testserver.Port(h))
	cmd := daemon(h, s, cdcd, h.TempDir(), "quick", fmt.Sprintf("nats: {embedded: {listen: %q}}\n", addr))()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		h.Fatal(err)
	}
	t := &trips{byID: map[int64]*trip{}}
	stop, err := t.consume(addr)
	if err != nil {
		_ = cmd.Process.Kill() // the error says more
		h.Fatalf("consumer: %v\n%s", err, out.String())
	}
	begin := time.Now()
	made := t.change(h, s, time.Duration(seconds)*time.Second)
	f.ChangesPerSec = float64(made) / time.Since(begin).Seconds()
	time.Sleep(time.Second) // for what is under way
	stop()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		h.Fatalf("cdcd: %v\n%s", err, out.String())
	}
	f.LatencyP50, f.LatencyP99 = t.quantiles(h, made)
	fmt.Printf("%.0f changes/s: from commit to consumer %.2f ms, 99%% within %.2f ms\n", f.ChangesPerSec, f.LatencyP50, f.LatencyP99)
}

// consume waits for the stream and reads it until stop is called.
func (t *trips) consume(addr string) (stop func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nc, err := nats.Connect("nats://"+addr, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	for {
		c, err := js.OrderedConsumer(ctx, "QUICK", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"cdc.quick.*.*"}})
		if err != nil && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond) // the daemon is starting
			continue
		}
		if err != nil {
			return nil, err
		}
		reading, err := c.Consume(func(m jetstream.Msg) {
			now := time.Now()
			var body struct {
				After struct {
					ID json.Number `json:"id"`
				} `json:"after"`
			}
			if json.Unmarshal(m.Data(), &body) != nil {
				return
			}
			if id, err := body.After.ID.Int64(); err == nil {
				t.note(id, func(p *trip) { p.arrived = now })
			}
		})
		if err != nil {
			return nil, err
		}
		return func() { reading.Stop(); nc.Close() }, nil
	}
}

// change commits single rows at an even pace, and returns how many.
func (t *trips) change(h *host.Host, s *jobs.Source, duration time.Duration) int {
	each := int(duration.Seconds() * changesPerSecond / sessions)
	pace := time.Second * sessions / changesPerSecond
	value := strings.Repeat("x", 200)
	var wg sync.WaitGroup
	for i := range sessions {
		session, err := s.DB.Session()
		if err != nil {
			h.Fatal(err)
		}
		wg.Go(func() {
			defer session.Close()
			begin := time.Now().Add(pace * time.Duration(i) / sessions)
			for n := range each {
				time.Sleep(time.Until(begin.Add(time.Duration(n) * pace)))
				id := int64(n*sessions + i)
				if _, err := session.Exec(fmt.Sprintf("INSERT INTO %s.quick VALUES (%d,'%s')", load.DB, id, value)); err != nil {
					h.Fatal(err)
				}
				now := time.Now()
				t.note(id, func(p *trip) { p.committed = now })
			}
		})
	}
	wg.Wait()
	return each * sessions
}

// quantiles returns the median and the 99th percentile in milliseconds, of the
// changes behind the first second's.
func (t *trips) quantiles(h *host.Host, made int) (p50, p99 float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var took []float64
	for id, p := range t.byID {
		if p.arrived.IsZero() {
			h.Fatalf("change %d of %d did not arrive", id, made)
		}
		if id >= changesPerSecond {
			took = append(took, max(0, float64(p.arrived.Sub(p.committed).Microseconds())/1000))
		}
	}
	if len(took) == 0 {
		h.Fatal("no changes behind the first second's")
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}
