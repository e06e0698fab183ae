package natsdtest

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// Connect gives a connection as the daemon would have it, until the test ends. It
// fails the test when there is none, or when closing it takes longer than a minute.
func Connect(t testing.TB, cfg natsd.Config) *nats.Conn {
	t.Helper()
	n, err := natsd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	// The first request starts a goroutine that is the connection's: one that a sink
	// leaves behind is then told from it.
	if _, err := nc.Request("$JS.API.INFO", nil, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	return nc
}
