package chain

import "time"

// The window is how much may be published and not confirmed. It begins with
// windowStart messages, grows to Config.WindowMessages where the way to the
// broker is long, and shrinks to windowMin where the broker is slow, so that
// what waits there is confirmed in about a second.
const (
	windowStart = 4096
	windowMin   = 64
	perSecond   = 250_000 // more than a broker takes
)

// tooSlow is the time to a confirmation from which on the window shrinks: far
// enough below the ack timeout that it shrinks before that is met.
const tooSlow = time.Second

// window is the state of the window. Chain.mu guards it.
type window struct {
	messagesMax, bytesMax int // it does not grow beyond these
	messagesMin           int
	messages              int // as it is now

	rtt     time.Duration // what one message that met nobody took
	probe   uint64        // sequence whose confirmation is timed; 0 for none
	probed  time.Time     // when it was sent
	crowded bool          // somebody waits for room
	limited bool          // somebody did since the probe was sent
}

func newWindow(cfg *Config) window {
	return window{messagesMax: cfg.WindowMessages, bytesMax: cfg.WindowBytes,
		messages: min(windowStart, cfg.WindowMessages), messagesMin: min(windowMin, cfg.WindowMessages)}
}

// bytes is the window in bytes: all of it, or less where the window has shrunk.
func (w *window) bytes() int {
	full := min(windowStart, w.messagesMax)
	return max(1, w.bytesMax/full*min(w.messages, full))
}

// far notes how far away the broker is, and opens the window for as many
// messages as may be under way in that time.
func (w *window) far(rtt time.Duration) {
	w.rtt = rtt
	w.messages = min(max(w.messages, int(rtt.Seconds()*perSecond)), w.messagesMax)
}

// atLeast keeps the window from shrinking below so many messages.
func (w *window) atLeast(messages int) {
	w.messagesMin = max(w.messagesMin, min(messages, w.messagesMax))
	w.messages = max(w.messages, w.messagesMin)
}

// sent is called for each group, with its last sequence.
func (w *window) sent(seq uint64, now time.Time) {
	w.crowded = false
	if w.probe == 0 {
		w.probe, w.probed, w.limited = seq, now, false
	}
}

// full notes that somebody waits for room.
func (w *window) full() { w.crowded, w.limited = true, true }

// acked adapts the window, once in the time that a message takes.
func (w *window) acked(seq uint64, now time.Time) {
	if w.probe == 0 || seq < w.probe {
		return
	}
	took := now.Sub(w.probed)
	w.probe = 0
	// A way that takes the time itself holds more. Where messages wait at the
	// broker, a longer queue would not make it faster.
	far := took < 3*w.rtt+5*time.Millisecond
	switch {
	case took > tooSlow:
		w.messages = max(w.messages/2, w.messagesMin)
	case w.limited && (far || w.messages < windowStart && took < tooSlow/4):
		w.messages = min(2*w.messages, w.messagesMax)
	}
}

// slow notes that a confirmation did not come in time.
func (w *window) slow() {
	w.messages = max(w.messages/2, w.messagesMin)
	w.probe = 0
}

// every is after how many messages of a flowing run an acknowledgement is due.
func (w *window) every() int { return min(max(w.messages/16, 1), 128) }

// quiet is how long a flowing run stays open with nothing sent, while messages in
// it wait for their acknowledgement. Ending it too early costs a way there and back.
func (w *window) quiet() time.Duration {
	return min(max(w.rtt/8, 300*time.Microsecond), 10*time.Millisecond)
}
