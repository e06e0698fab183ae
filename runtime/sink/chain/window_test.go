package chain

import (
	"testing"
	"time"
)

// play confirms the window over and over: each time it is full, and what was
// sent is confirmed after the way there and back and the broker's own time.
func play(w *window, rtt, perMessage time.Duration, rounds int) {
	now, seq := time.Unix(0, 0), uint64(0)
	for range rounds {
		seq += uint64(w.messages)
		w.sent(seq, now)
		w.full()
		now = now.Add(rtt + time.Duration(w.messages)*perMessage)
		w.acked(seq, now)
	}
}

func TestWindowAdapts(t *testing.T) {
	for _, c := range []struct {
		name            string
		rtt, perMessage time.Duration
		low, high       int
	}{
		{"near and fast", 100 * time.Microsecond, 5 * time.Microsecond, 4096, 4096},
		{"far and fast", 40 * time.Millisecond, 5 * time.Microsecond, 16384, 16384},
		{"near, a sync for each message", 200 * time.Microsecond, 300 * time.Microsecond, 1024, 4096},
		{"near and slow", time.Millisecond, 10 * time.Millisecond, 64, 128},
		{"as slow as can be", time.Millisecond, time.Second, 64, 64},
	} {
		cfg := Config{}.withDefaults()
		w := newWindow(&cfg)
		w.far(c.rtt)
		play(&w, c.rtt, c.perMessage, 50)
		if w.messages < c.low || w.messages > c.high {
			t.Errorf("%s: %d messages, want %d to %d", c.name, w.messages, c.low, c.high)
		}
		if b := w.bytes(); b > cfg.WindowBytes || w.messages < windowStart && b > cfg.WindowBytes*w.messages/windowStart+w.messages {
			t.Errorf("%s: %d bytes for %d messages", c.name, b, w.messages)
		}
		if e := w.every(); e > w.messages/2 || e < 1 {
			t.Errorf("%s: an answer every %d of %d messages", c.name, e, w.messages)
		}
	}
}

// A broker that was slow and is fast again gets the whole window back.
func TestWindowComesBack(t *testing.T) {
	cfg := Config{}.withDefaults()
	w := newWindow(&cfg)
	w.far(time.Millisecond)
	play(&w, time.Millisecond, time.Second, 20)
	play(&w, time.Millisecond, 5*time.Microsecond, 20)
	if w.messages < windowStart {
		t.Errorf("%d messages", w.messages)
	}
}

// What must be in one run has room, however slow the broker is.
func TestWindowKeepsRoomForARun(t *testing.T) {
	cfg := Config{}.withDefaults()
	w := newWindow(&cfg)
	w.atLeast(2000)
	play(&w, time.Millisecond, time.Second, 20)
	if w.messages != 2000 {
		t.Errorf("%d messages", w.messages)
	}
	w.slow()
	if w.messages != 2000 {
		t.Errorf("%d messages behind a timeout", w.messages)
	}
}
