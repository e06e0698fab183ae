package sinktest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// Place is what the suite needs of a sink's kind: one place, which survives
// the sinks that are opened on it.
type Place interface {
	// Open opens a sink on the place.
	Open(t *testing.T) sink.Sink
	// Bodies returns the bodies of all data messages in the place, in order.
	Bodies(t *testing.T) []string
}

// Hosted is a Place whose server is in this process. Its goroutines end with it, and
// whoever started it looks for those that stay.
type Hosted interface{ Hosted() }

// leaks returns what finds goroutines that were not there yet and have stayed.
func leaks(t *testing.T, p Place) (find func()) {
	if _, ok := p.(Hosted); ok {
		return func() {}
	}
	before := goleak.IgnoreCurrent()
	return func() {
		t.Helper()
		goleak.VerifyNone(t, before)
	}
}

// Suite is the conformance suite that every sink passes. feed makes the
// messages, fresh gives an empty place.
func Suite(t *testing.T, feed *Feed, fresh func(t *testing.T) Place) {
	t.Run("order", func(t *testing.T) { order(t, feed, fresh(t)) })
	t.Run("resume after a checkpoint", func(t *testing.T) { resume(t, feed, fresh(t), true) })
	t.Run("resume after a crash", func(t *testing.T) { resume(t, feed, fresh(t), false) })
	t.Run("empty groups", func(t *testing.T) { emptyGroups(t, feed, fresh(t)) })
	t.Run("done is called once", func(t *testing.T) { doneOnce(t, feed, fresh(t)) })
	t.Run("close ends waiting", func(t *testing.T) { closeEnds(t, feed, fresh(t)) })
}

func order(t *testing.T, feed *Feed, p Place) {
	s := p.Open(t)
	defer s.Close(t.Context())
	r := &Run{Feed: feed, Groups: 100}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if r.Anchor.Found || r.Anchor.Base != feed.Initial() {
		t.Errorf("an empty place gave the anchor %+v", r.Anchor)
	}
	bodies := p.Bodies(t)
	if err := feed.Check(bodies); err != nil {
		t.Fatal(err)
	}
	if len(bodies) != r.Confirmed || len(bodies) == 0 {
		t.Errorf("%d messages in the place, %d confirmed", len(bodies), r.Confirmed)
	}
}

// resume runs again and again on one place. In between, either everything was
// confirmed, or the run ended at any moment; on a busy machine the first ones end
// before anything is, and then there are more, which are longer.
func resume(t *testing.T, feed *Feed, p Place, clean bool) {
	defer leaks(t, p)()
	var r Run
	total := 0
	for i := 0; i < 8 || total == 0 && i < 200; i++ {
		r = Run{Feed: feed, Hint: r.Hint, Seed: uint64(i), Groups: 12 * (i + 1)}
		ctx, cancel := context.WithCancel(t.Context())
		if !clean {
			r.Groups = 0
			time.AfterFunc(time.Duration(i*3)*time.Millisecond, cancel)
		}
		s := p.Open(t)
		err := r.Do(ctx, s)
		cancel()
		if clean && err != nil || !clean && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		total += r.Confirmed
	}
	bodies := p.Bodies(t)
	if err := feed.Check(bodies); err != nil {
		t.Fatal(err)
	}
	if clean && len(bodies) != total || len(bodies) == 0 {
		t.Errorf("%d messages in the place, %d confirmed", len(bodies), total)
	}
}

func emptyGroups(t *testing.T, feed *Feed, p Place) {
	s := p.Open(t)
	defer s.Close(t.Context())
	a, err := s.Claim(t.Context(), sink.Hint{}, initialOf(feed))
	if err != nil {
		t.Fatal(err)
	}
	c, err := feed.From(a)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 { // an empty one first, between others, and two at the end
		g := c.Empty
		if i%3 == 1 {
			g = func() *sink.Group { return c.Next(3, false) }
		}
		if err := s.Publish(t.Context(), g()); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint64(0); n < 9; {
		confirmed, err := s.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range confirmed {
			if c.Group.Number != n {
				t.Fatalf("group %d confirmed, want %d", c.Group.Number, n)
			}
			if c.Token == "" {
				t.Errorf("group %d has no token", n)
			}
			n++
		}
	}
}

func doneOnce(t *testing.T, feed *Feed, p Place) {
	s := p.Open(t)
	a, err := s.Claim(t.Context(), sink.Hint{}, initialOf(feed))
	if err != nil {
		t.Fatal(err)
	}
	c, err := feed.From(a)
	if err != nil {
		t.Fatal(err)
	}
	const groups = 10
	var done [groups]int
	for i := range groups {
		g := c.Next(2, false)
		g.Done = func() { done[i]++ }
		if err := s.Publish(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	confirmed, err := s.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range confirmed {
		if done[k.Group.Number] != 0 {
			t.Errorf("group %d was done before it was handed out", k.Group.Number)
		}
	}
	if err := errors.Join(s.Close(t.Context()), s.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	for i, n := range done {
		if n != 1 {
			t.Errorf("Done of group %d was called %d times", i, n)
		}
	}
}

func closeEnds(t *testing.T, feed *Feed, p Place) {
	defer leaks(t, p)()
	s := p.Open(t)
	if _, err := s.Claim(t.Context(), sink.Hint{}, initialOf(feed)); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context())
		waited <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		if err == nil {
			t.Error("Wait on a closed sink returned groups")
		}
	case <-ctx.Done():
		t.Fatal("Wait outlived Close")
	}
	if err := s.Publish(ctx, &sink.Group{}); err == nil {
		t.Error(fmt.Errorf("a closed sink took a group"))
	}
}
