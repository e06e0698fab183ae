package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// stored names the messages that a run must have left in its folder.
type stored struct{ folder, stream, subjects string }

// count opens the folder with a server of its own and counts.
func (s stored) count() (messages int, err error) {
	broker, err := server.NewServer(&server.Options{JetStream: true, StoreDir: s.folder, DontListen: true, NoSigs: true})
	if err != nil {
		return 0, err
	}
	go broker.Start()
	defer func() { broker.Shutdown(); broker.WaitForShutdown() }()
	if !broker.ReadyForConnections(time.Minute) {
		return 0, errors.New("the server that counts does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(broker))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(context.Background(), s.stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s in %s: %w", s.stream, s.folder, err)
	}
	info, err := stream.Info(context.Background(), jetstream.WithSubjectFilter(s.subjects))
	if err != nil {
		return 0, err
	}
	for _, n := range info.State.Subjects {
		messages += int(n)
	}
	return messages, nil
}
