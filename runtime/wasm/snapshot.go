package wasm

import (
	"context"
	"fmt"
	"sync"
)

// snapshot is an instance that has begun and not been given its configuration:
// what it keeps, in a file of memory that others begin with and share.
type snapshot struct {
	file    *imageFile
	size    int64 // of the linear memory
	globals []uint64
	clock   virtualClock
	ledger  *ledger
}

// snapshotBytesMax bounds a snapshot. A connector that has more than that
// before it is configured starts plainly.
const snapshotBytesMax = 64 << 20

// newSnapshot takes one of a guest. Its memory is mem.
func newSnapshot(l *ledger, g guest, mem []byte, clock virtualClock) (*snapshot, error) {
	mem = trimZeros(mem)
	if r := l.take(int64(len(mem)), 0); r != nil {
		return nil, fmt.Errorf("%s has no room for a snapshot of %d bytes", r.whose, len(mem))
	}
	f, err := newImageFile(mem)
	if err != nil {
		l.give(int64(len(mem)), 0)
		return nil, err
	}
	return &snapshot{file: f, globals: g.globals(), clock: clock, ledger: l}, nil
}

// close gives the file back. Instances that began with it are not touched, but
// no other may begin.
func (s *snapshot) close() error {
	if s == nil {
		return nil
	}
	s.ledger.give(s.file.size, 0)
	return s.file.close()
}

// trimZeros leaves out the pages of zeros at the end: memory that is mapped
// anew is zero by itself.
func trimZeros(mem []byte) []byte {
	for len(mem) >= filePage && isZero(mem[len(mem)-filePage:]) {
		mem = mem[:len(mem)-filePage]
	}
	return mem
}

// filePage is what a snapshot's size is a multiple of: a page on every system.
const filePage = pageBytes

func isZero(p []byte) bool {
	for len(p) >= 8 {
		if p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7] != 0 {
			return false
		}
		p = p[8:]
	}
	return true
}

// origin is where the instances of a code begin: each for itself, or, once the
// first has begun, with its snapshot.
type origin struct {
	mu      sync.Mutex
	settled bool
	snap    *snapshot // nil once settled: plainly
	why     string    // it is plainly
	busy    chan struct{}
}

// claim returns the snapshot to begin with. Without one, the caller begins
// plainly; if first, it must call settle with what came of it, for which others wait.
func (o *origin) claim(ctx context.Context) (s *snapshot, first bool, err error) {
	for {
		o.mu.Lock()
		busy := o.busy
		switch {
		case o.settled:
			s = o.snap
		case busy == nil:
			o.busy, first = make(chan struct{}), true
		}
		settled := o.settled
		o.mu.Unlock()
		if settled || first {
			return s, first, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// settle says how all others begin: with s, or plainly for a reason. Without
// either, the next one tries again.
func (o *origin) settle(s *snapshot, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.snap, o.why, o.settled = s, why, s != nil || why != ""
	close(o.busy)
	o.busy = nil
}

// close gives the snapshot back. No instance begins any more.
func (o *origin) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.snap
	o.snap = nil
	return s.close()
}

// holdsFile reports whether there is a snapshot.
func (o *origin) holdsFile() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.snap != nil
}
