package chain_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

// lagging is a broker whose leader does not know its last messages for a while.
type lagging struct {
	*instant
	behind uint64
	until  time.Time
}

func (l *lagging) State(ctx context.Context) (chain.State, error) {
	st, err := l.instant.State(ctx)
	if time.Now().Before(l.until) {
		st.LastSeq, st.Messages = st.LastSeq-l.behind, st.Messages-l.behind
	}
	return st, err
}

// one is a group of one message, which is a transaction.
func one(tx string, number uint64) *sink.Group {
	return &sink.Group{Number: number, Base: "p1", End: "p2",
		Messages: []sink.Message{{Subject: "cdc.p.d.t", Place: sink.Place{Tx: tx, Parts: 1}, TxLast: true}}}
}

// A stream that seems shorter than it was is believed to be when it has been so
// for as long as an answer may take, however long all else took.
func TestLaggingIsNotRollback(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lasts time.Duration
		code  string
	}{
		{"for a moment", 900 * time.Millisecond, ""},
		{"for good", time.Hour, sink.CodeStreamRollback},
	} {
		cfg := config()
		cfg.AckTimeout = time.Second
		t.Run("while it writes, "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{instant: newInstant(), behind: 1}
				c := chain.New(cfg, l)
				defer c.Close(t.Context())
				if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
					t.Fatal(err)
				}
				if err := c.Publish(t.Context(), one("t1", 0)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.session++
				l.beforePut = func() { // the marker takes long, and its connection ends
					time.Sleep(2 * cfg.AckTimeout)
					l.session++
					l.until = time.Now().Add(tt.lasts)
				}
				if err := c.Publish(t.Context(), one("t2", 1)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Wait(t.Context()); tt.code == "" && err != nil || tt.code != "" && !fault.HasCode(err, tt.code) {
					t.Errorf("%v, want the code %q", err, tt.code)
				}
			})
		})
		t.Run("when it is claimed, "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{instant: newInstant(), behind: 2}
				c := chain.New(cfg, l)
				if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
					t.Fatal(err)
				}
				if err := c.Publish(t.Context(), one("t1", 0)); err != nil {
					t.Fatal(err)
				}
				done, err := c.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.until = time.Now().Add(tt.lasts)
				c = chain.New(cfg, l)
				defer c.Close(t.Context())
				_, err = c.Claim(t.Context(), sink.Hint{Token: done[0].Token, Position: "p2", Exact: true}, start)
				if tt.code == "" && err != nil || tt.code != "" && !fault.HasCode(err, tt.code) {
					t.Errorf("%v, want the code %q", err, tt.code)
				}
			})
		})
	}
}
