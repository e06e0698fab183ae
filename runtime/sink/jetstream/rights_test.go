package jetstream_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/natsd"
	"github.com/cdcd-io/cdcd/runtime/sink"
	js "github.com/cdcd-io/cdcd/runtime/sink/jetstream"
	"github.com/cdcd-io/cdcd/runtime/sink/rights"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// The rights that docs/guides/nats.md names are enough for all that a pipeline
// does: making the stream, writing, resuming, reading history, looking it over.
func TestRightsOfTheGuide(t *testing.T) {
	claims := []string{"$JS.API.STREAM.*.OBJ_SHOP_CLAIMS", "$JS.API.STREAM.MSG.GET.OBJ_SHOP_CLAIMS", "$O.SHOP_CLAIMS.>"}
	s := testserver.NATS(t, users(rights.Needed{Publish: append(slices.Clone(needed.Publish), claims...), Subscribe: needed.Subscribe}))
	n, err := natsd.Start(t.Context(), natsd.Config{URL: s.URL(), Login: natsd.Login{User: "cdcd", Password: unit.NewSecret("p")}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(context.Background())
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.TooLarge = "claim_check"
	var hint sink.Hint
	for range 2 { // the second resumes
		f := feed()
		f.BodyBytes = 1<<20 + 1 // over max_payload
		r := &sinktest.Run{Feed: f, Groups: 3, Hint: hint}
		out := open(t, nc, cfg)
		if err := r.Do(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		hint = r.Hint
		if err := out.History(t.Context(), "", func([]byte) error { return nil }); err != nil {
			t.Error(err)
		}
		wantAlarms(t, out)
		if err := out.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, r := range js.Kind().Examine(t.Context(), config(), sink.Env{Pipeline: pipeline, Now: time.Now, NATS: func(context.Context) (*nats.Conn, error) { return nc, nil }}) {
		if r.Level.String() != "ok" {
			t.Errorf("%+v", r)
		}
	}
	if err := nc.LastError(); err != nil {
		t.Errorf("something was refused: %v", err)
	}
}
