package kv_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/kv"
	"github.com/cdcd-io/cdcd/sdk"
)

// BenchmarkPublish is the ceiling of what a pipeline can put into a bucket: groups of
// 128 values of 430 B, embedded server on files, everything confirmed. All keys are
// new; or as many as it says are written over and over; or each second message takes
// away the key that the one before has put. Allocations are the server's too, since it
// runs in the process.
func BenchmarkPublish(b *testing.B) {
	for _, c := range []struct {
		name    string
		keys    int // 0 for new ones
		deletes bool
	}{{"new keys", 0, false}, {"1,000 keys", 1_000, false}, {"100,000 keys", 100_000, false}, {"deletes", 0, true}} {
		b.Run(c.name, func(b *testing.B) { benchPublish(b, c.keys, c.deletes) })
	}
}

func benchPublish(b *testing.B, keys int, deletes bool) {
	const size = 128
	s := embedded(b)
	groups := benchGroups((b.N+size-1)/size, size, keys, deletes)
	b.SetBytes(430)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	go func() {
		for _, g := range groups {
			if err := s.Publish(b.Context(), g); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for i := 0; i < len(groups); {
		c, err := s.Wait(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		i += len(c)
	}
	b.ReportMetric(float64(len(groups)*size)/time.Since(start).Seconds(), "msgs/s")
}

func benchGroups(n, size, keys int, deletes bool) (groups []*sink.Group) {
	body := make([]byte, 430)
	for i := range body {
		body[i] = byte(i*7 + i/13)
	}
	subjects := make([]string, min(max(keys, 1), n*size))
	if keys == 0 {
		subjects = make([]string, n*size)
	}
	for i := range subjects {
		subjects[i] = fmt.Sprintf("%sshop.orders.%d", prefix, i)
	}
	for k := range n {
		g := &sink.Group{Base: "mysql-bin.000007:4711;0b1c4a52-9c1c-11ee-8c90-0242ac120002:1-88213", End: "mysql-bin.000007:9999"}
		for i := range size {
			at := k*size + i
			m := sink.Message{Kind: sink.KindData, Subject: subjects[at%len(subjects)], Body: body, TxRows: 4, TxLast: i%4 == 3, SubjectLast: i%4 == 3,
				Place: sink.Place{Tx: fmt.Sprint("0b1c4a52-9c1c-11ee-8c90-0242ac120002:", k*size/4+i/4), Row: uint64(i % 4), Parts: 1, N: uint64(i % 4)}}
			if deletes && i%2 == 1 {
				m.Subject, m.Body = g.Messages[i-1].Subject, nil
			}
			g.Messages = append(g.Messages, m)
			g.Bytes += len(m.Body)
		}
		groups = append(groups, g)
	}
	return groups
}

// embedded gives a claimed sink on an embedded server.
func embedded(b *testing.B) *kv.Sink {
	b.Helper()
	n, err := natsd.Start(b.Context(), natsd.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	nc, err := n.Connect(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	s, err := kv.Open(*config(), sink.Env{Pipeline: pipeline, Fingerprint: "f1", Now: time.Now, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		s.Close(context.Background())
		n.Close(context.Background())
	})
	if _, err := s.Claim(b.Context(), sink.Hint{}, func(context.Context) (sdk.Position, error) { return "p0", nil }); err != nil {
		b.Fatal(err)
	}
	return s
}
