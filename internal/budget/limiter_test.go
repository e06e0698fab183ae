package budget

import (
	"testing"
	"testing/synctest"
)

func TestTryTakesOnlyWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time passes
		l := NewLimiter(2, 100)
		if !l.TryRows(1) || !l.TryRows(1) || l.TryRows(1) {
			t.Error("a burst of two rows is not two rows")
		}
		if !l.TryBytes(100) || l.TryBytes(50) {
			t.Error("a burst of 100 bytes is not 100 bytes")
		}
		if l.BytesBurst() != 100 {
			t.Errorf("burst %d", l.BytesBurst())
		}
		var none *Limiter
		if !none.TryRows(1<<30) || !none.TryBytes(1<<30) || none.BytesBurst() != 0 {
			t.Error("no limit limits")
		}
	})
}
