package chain

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// lazyLog answers as a broker does: every so many messages, and the end of a
// run; the first answer waits for release.
type lazyLog struct {
	*promptLog
	release chan struct{}
}

func (l *lazyLog) Send(m *Outgoing) error {
	l.store(m)
	switch {
	case m.Last && m.Run == 1:
		go func() { <-l.release; l.notify(Ack{Run: 1, Count: 1, Ended: true}) }()
	case m.Last || m.Number%uint64(m.Every) == 0:
		l.notify(Ack{Run: m.Run, Count: m.Number, Ended: m.Last})
	}
	return nil
}

// A window that is full in bytes may hold too few messages for the broker to
// answer by itself: the run is ended although there is more.
func TestFullInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in whose time nothing is late by itself
		c, prompt := claimed(t)
		log := &lazyLog{prompt, make(chan struct{})}
		c.log = log
		c.run.id, c.window.rtt = 0, time.Second // the first run is 1, and open runs stay open for 10 ms
		markers := prompt.puts
		go func() {
			for n := range uint64(4) {
				g := &sink.Group{Number: n, Base: "begin", End: "end", Bytes: 20 << 20,
					Messages: []sink.Message{{Subject: "c.t", Body: []byte("x"), Place: sink.Place{Tx: "t", N: n, Parts: 1}}}}
				if err := c.Publish(t.Context(), g); err != nil {
					t.Error(err)
				}
				if n == 0 {
					time.AfterFunc(20*time.Millisecond, func() { close(log.release) })
				}
			}
		}()
		begin := time.Now()
		for n := 0; n < 4; {
			done, err := c.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n += len(done)
		}
		if took := time.Since(begin); took > time.Second || prompt.puts != markers {
			t.Errorf("took %v, and the stream was read again %d times", took, prompt.puts-markers)
		}
	})
}
