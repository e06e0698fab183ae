package budget

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Limiter bounds how fast a source reads, in rows and in bytes per second.
type Limiter struct{ rows, bytes *rate.Limiter }

// NewLimiter returns a Limiter; 0 means no limit on that side. A burst is one
// second's worth.
func NewLimiter(rowsPerSecond, bytesPerSecond int64) *Limiter {
	l := &Limiter{}
	if rowsPerSecond > 0 {
		l.rows = rate.NewLimiter(rate.Limit(rowsPerSecond), int(rowsPerSecond))
	}
	if bytesPerSecond > 0 {
		l.bytes = rate.NewLimiter(rate.Limit(bytesPerSecond), int(bytesPerSecond))
	}
	return l
}

// Rows waits until n more rows may be read. A nil Limiter never waits.
func (l *Limiter) Rows(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	return wait(ctx, l.rows, n)
}

// Bytes waits until n more bytes may be read. A nil Limiter never waits.
func (l *Limiter) Bytes(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	return wait(ctx, l.bytes, n)
}

func wait(ctx context.Context, l *rate.Limiter, n int) error {
	if l == nil {
		return nil
	}
	for n > 0 { // more than the burst is waited for in pieces
		k := min(n, l.Burst())
		if err := l.WaitN(ctx, k); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// TryRows takes n rows' worth if that needs no waiting, and reports whether it
// did: a reader that must wait sends first what it holds.
func (l *Limiter) TryRows(n int) bool {
	return l == nil || l.rows == nil || l.rows.AllowN(time.Now(), n)
}

// TryBytes is TryRows for bytes.
func (l *Limiter) TryBytes(n int) bool {
	return l == nil || l.bytes == nil || l.bytes.AllowN(time.Now(), n)
}

// BytesBurst returns the most bytes that can be read at once without exceeding
// the limit; 0 for no limit.
func (l *Limiter) BytesBurst() int {
	if l == nil || l.bytes == nil {
		return 0
	}
	return l.bytes.Burst()
}

// RowsBurst returns the most rows that can be read at once without exceeding the
// limit; 0 for no limit.
func (l *Limiter) RowsBurst() int {
	if l == nil || l.rows == nil {
		return 0
	}
	return l.rows.Burst()
}
