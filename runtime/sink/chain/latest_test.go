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

// overtaking is a bucket whose last message is gone when it is asked for: for
// some time because somebody replaces it, or because it was purged.
type overtaking struct {
	*instant
	until  time.Time
	purged bool
}

func (l *overtaking) Get(ctx context.Context, seq uint64) (*chain.Record, error) {
	if time.Now().After(l.until) {
		return l.instant.Get(ctx, seq)
	}
	if !l.purged { // the other writer has put the same key again
		last := l.b.log[len(l.b.log)-1]
		last.subject = "another"
		l.b.log = append(l.b.log, last)
	}
	return nil, chain.ErrNoMessage
}

// A claim that another writer overtakes again and again has not found a purge,
// however long it takes. A message that stays gone is one.
func TestOvertakenIsNotPurged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lasts  time.Duration
		purged bool
		code   string
	}{
		{"overtaken for a while", 150 * time.Millisecond, false, ""},
		{"overtaken all the time", time.Hour, false, sink.CodeFenced},
		{"away for a moment", 900 * time.Millisecond, true, ""},
		{"purged", time.Hour, true, sink.CodeAnchorGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &overtaking{instant: newInstant(), purged: tt.purged}
				cfg := config()
				cfg.Latest, cfg.AckTimeout = true, time.Second
				first := chain.New(cfg, l)
				defer first.Close(t.Context())
				if _, err := first.Claim(t.Context(), sink.Hint{}, start); err != nil {
					t.Fatal(err)
				}
				l.until = time.Now().Add(tt.lasts)
				c := chain.New(cfg, l)
				defer c.Close(t.Context())
				_, err := c.Claim(t.Context(), sink.Hint{}, start)
				if tt.code == "" && err != nil || tt.code != "" && !fault.HasCode(err, tt.code) {
					t.Errorf("%v, want the code %q", err, tt.code)
				}
			})
		})
	}
}

// A claim takes long for other reasons, and is overtaken at its end.
func TestOvertakenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newInstant()
		cfg := config()
		cfg.Latest, cfg.AckTimeout = true, time.Second
		first := chain.New(cfg, l)
		defer first.Close(t.Context())
		if _, err := first.Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Fatal(err)
		}
		late := &overtaking{instant: l, purged: true}
		l.beforePut = func() {
			time.Sleep(2 * cfg.AckTimeout)
			l.b.log = append(l.b.log, l.b.log[0])
			late.until = time.Now().Add(100 * time.Millisecond)
		}
		c := chain.New(cfg, late)
		defer c.Close(t.Context())
		if _, err := c.Claim(t.Context(), sink.Hint{}, start); err != nil {
			t.Error(err)
		}
	})
}
