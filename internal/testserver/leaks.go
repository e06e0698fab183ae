package testserver

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// leakPatience is how long a goroutine that ends may take to do so: one that waits
// for a disk's sync, on a busy machine, takes more than goleak's own half second.
const leakPatience = 30 * time.Second

// NoLeaks fails a test when goroutines stay that the options don't allow.
func NoLeaks(t testing.TB, opts ...goleak.Option) {
	t.Helper()
	for deadline := time.Now().Add(leakPatience); ; {
		err := goleak.Find(opts...) // which tries for a while by itself
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
	}
}
