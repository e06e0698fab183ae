package skip_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cdcd-io/cdcd/internal/skip"
)

// listener is a test that notes how it was ended.
type listener struct {
	testing.TB
	outcome string
}

func (l *listener) Helper()           {}
func (l *listener) Fatal(args ...any) { l.end("failed: ", args) }
func (l *listener) Skip(args ...any)  { l.end("skipped: ", args) }

func (l *listener) end(how string, args []any) {
	l.outcome = how + fmt.Sprint(args...)
	runtime.Goexit()
}

func outcome(t *testing.T) string {
	l, done := &listener{TB: t}, make(chan bool)
	go func() {
		defer close(done)
		skip.For(l, "a %s: buy one", "server")
		l.outcome = "went on"
	}()
	<-done
	return l.outcome
}

func TestFor(t *testing.T) {
	for ci, want := range map[string]string{"": "skipped: *** SKIPPED for want of a server: buy one", "true": "failed: *** SKIPPED for want of a server: buy one"} {
		t.Setenv("CI", ci)
		if got := outcome(t); got != want {
			t.Errorf("CI=%s: %q, want %q", ci, got, want)
		}
	}
}
