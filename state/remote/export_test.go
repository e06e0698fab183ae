package remote

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"time"
)

// Once makes one copy, if there is something new, as Run does.
func (r *Replicator) Once(ctx context.Context) bool { return r.once(ctx) }

// SetEnd sets the bound of the copy that is made at the end.
func (r *Replicator) SetEnd(d time.Duration) { r.end = d }

// DialInstead sends all requests of a bucket to the address.
func DialInstead(s *S3, addr string) {
	s.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

// Signed returns the text as a manifest's, with its sum behind it if it is to
// have one.
func Signed(text []byte, sum bool) []byte {
	if !sum {
		return text
	}
	return fmt.Appendf(text[:len(text):len(text)], "\n%x\n", sha256.Sum256(text))
}
