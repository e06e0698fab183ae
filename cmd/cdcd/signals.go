package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// signals turns the first SIGINT or SIGTERM into a graceful end and the second
// into a hard one.
type signals struct {
	drain context.Context // done at the first signal: finish what is in flight
	hard  context.Context // done at the second: stop now
	stop  func()
	first atomic.Int32 // number of the first signal, 0 before
}

func newSignals(parent context.Context) *signals {
	s := &signals{}
	hard, cancelHard := context.WithCancelCause(parent)
	drain, cancelDrain := context.WithCancelCause(hard)
	s.hard, s.drain = hard, drain
	ch := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for n := 0; ; n++ {
			select {
			case got := <-ch:
				why := fmt.Errorf("got signal: %v", got)
				if n == 0 {
					if number, ok := got.(syscall.Signal); ok {
						s.first.Store(int32(number))
					}
					cancelDrain(why)
					continue
				}
				cancelHard(why)
			case <-done:
				return
			}
		}
	}()
	s.stop = func() {
		signal.Stop(ch)
		close(done)
		cancelHard(nil)
	}
	return s
}

// exitCode is the code that a signal gives, or the outcome's own.
func (s *signals) exitCode(code int) int {
	if n := s.first.Load(); n != 0 {
		return 128 + int(n)
	}
	return code
}
