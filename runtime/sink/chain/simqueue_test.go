package chain_test

import "sync"

// packets are those on their way, in order; who adds one never waits. There is
// a queue for each connection, of which a simulation has thousands.
type packets struct {
	more chan struct{} // holds something when there are any

	mu   sync.Mutex
	list []packet
}

func (q *packets) add(p packet) {
	q.mu.Lock()
	q.list = append(q.list, p)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// all takes all of them.
func (q *packets) all() []packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}
