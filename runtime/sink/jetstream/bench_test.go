package jetstream_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/stream"
	"github.com/cdcd-io/cdcd/sdk"
)

// BenchmarkPublish is the ceiling of what a pipeline can publish: groups of 128
// messages of 430 B, embedded server on files, everything confirmed. Allocations
// are the server's too, since it runs in the process.
func BenchmarkPublish(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) { benchPublish(b, m) })
	}
}

func benchPublish(b *testing.B, m mode) {
	s := embedded(b, m)
	const size = 128
	g := benchGroup(size)
	b.SetBytes(430)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	go func() {
		for i := 0; i < b.N; i += size {
			one := *g
			if err := s.Publish(b.Context(), &one); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for i := 0; i < b.N; {
		c, err := s.Wait(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		i += len(c) * size
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msgs/s")
}

// BenchmarkLatency is one message at a time, from Publish to Wait's return.
func BenchmarkLatency(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) { benchLatency(b, m) })
	}
}

func benchLatency(b *testing.B, m mode) {
	s := embedded(b, m)
	g := benchGroup(1)
	b.ReportAllocs()
	for b.Loop() {
		one := *g
		if err := s.Publish(b.Context(), &one); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// embedded gives a claimed sink on an embedded server.
func embedded(b *testing.B, m mode) *stream.Sink {
	b.Helper()
	n, err := natsd.Start(b.Context(), natsd.Config{Dir: b.TempDir(), Fsync: m.fsync})
	if err != nil {
		b.Fatal(err)
	}
	nc, err := n.Connect(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	cfg := config()
	cfg.Atomic = m.atomic
	s, err := js.Open(*cfg, sink.Env{Pipeline: pipeline, SyncAlways: m.fsync, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }})
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

func benchGroup(size int) *sink.Group {
	g := &sink.Group{Base: "mysql-bin.000007:4711;0b1c4a52-9c1c-11ee-8c90-0242ac120002:1-88213", End: "mysql-bin.000007:9999"}
	body := make([]byte, 430)
	for i := range body {
		body[i] = byte(i*7 + i/13)
	}
	for i := range size {
		g.Messages = append(g.Messages, sink.Message{Subject: "cdc.shop.shop.orders", Body: body, TxRows: 4,
			TxLast: i%4 == 3, SubjectLast: i%4 == 3,
			Place: sink.Place{Tx: "0b1c4a52-9c1c-11ee-8c90-0242ac120002:88213", Row: uint64(i % 4), Parts: 1, N: uint64(i % 4)}})
		g.Bytes += 430
	}
	return g
}
