package stdout_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
	"github.com/cdcd-io/cdcd/runtime/sink/stdout"
	"github.com/cdcd-io/cdcd/sdk"
)

func initial(context.Context) (sdk.Position, error) { return "p0", nil }

func TestWritesDataMessagesAsLines(t *testing.T) {
	var buf bytes.Buffer
	feed := &sinktest.Feed{Subject: "s", Control: "c"}
	var r sinktest.Run
	for i := range 5 { // each run continues behind the checkpoint, also inside a transaction
		r = sinktest.Run{Feed: feed, Groups: 20, Hint: r.Hint, Seed: uint64(i)}
		s := stdout.New(&buf)
		if err := r.Do(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := feed.Check(strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")); err != nil {
		t.Fatal(err)
	}
}

// Behind a first run that confirmed nothing, the next one begins where that did.
func TestBeginsWhereTheFirstRunBegan(t *testing.T) {
	s := stdout.New(&bytes.Buffer{})
	if a, err := s.Claim(t.Context(), sink.Hint{Position: "p", Exact: true}, initial); err != nil || a.Base != "p" || a.At.Tx != "" {
		t.Fatalf("%+v, %v", a, err)
	}
}

// A tombstone has no line, but it is a step forward.
func TestTombstones(t *testing.T) {
	var buf bytes.Buffer
	s := stdout.New(&buf)
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial); err != nil {
		t.Fatal(err)
	}
	g := &sink.Group{Messages: []sink.Message{{Body: []byte("x"), Place: sink.Place{Tx: "a:1", Parts: 2}}, {Place: sink.Place{Tx: "a:1", Part: 1, Parts: 2, N: 1}}}}
	if err := s.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	got, err := s.Wait(t.Context())
	if err != nil || got[0].Token != "a:1#0.1/2#1" || buf.String() != "x\n" {
		t.Errorf("%+v, %v, %q", got, err, buf.String())
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestConfirmsNothingThatWasNotWritten(t *testing.T) {
	s := stdout.New(closedPipe{})
	if _, err := s.Claim(t.Context(), sink.Hint{}, initial); err != nil {
		t.Fatal(err)
	}
	g := &sink.Group{Messages: []sink.Message{{Body: []byte("x")}}}
	if err := s.Publish(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Wait(t.Context()); !fault.HasCode(err, "stdout_closed") || got != nil {
		t.Fatalf("%v, %v", got, err)
	}
	if err := s.Publish(t.Context(), g); !fault.HasCode(err, "stdout_closed") {
		t.Fatalf("publishing after a failure: %v", err)
	}
}
