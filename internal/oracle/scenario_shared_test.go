package oracle

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// duplicateWindow is for how long the shared stream's broker recognises what is
// sent again: the least that it takes, so that much of it comes through.
const duplicateWindow = 100 * time.Millisecond

// sharedScenarios are those of a stream that others write to, delivered at least
// once: no message may be missing or out of its order when it comes first, and
// what comes again must be the same.
func sharedScenarios() []scenario {
	return []scenario{
		{name: "at_least_once in a stream that others write to, kills and network", share: 0.03, least: 8, harm: harmShared, setup: func(t *testing.T) setup {
			b := testserver.NATS(t)
			return setup{db: testserver.MySQL(t), brokers: []*testserver.NATSServer{b}, steps: filterAll, toBroker: testserver.NewProxy(t, b.Addr()),
				shared: true, sinkKeys: ", delivery: at_least_once, dead_letters: {stream: false}"}
		}},
	}
}

// makeShared makes the stream, which is not the pipeline's.
func (r *rig) makeShared() {
	r.t.Helper()
	ctx, cancel := contextFor(r.t, 10*time.Second)
	defer cancel()
	_, err := r.js().CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{"cdc." + pipelineName + ".>", "other.>"},
		Discard: jetstream.DiscardNew, AllowBatchPublish: true, Duplicates: duplicateWindow})
	if err != nil {
		r.t.Fatal(err)
	}
}

// harmShared kills cdcd and the broker and troubles the network between them, while
// somebody else writes to the stream all the time.
func harmShared(r *rig, rounds int) {
	r.outages = true
	ctx, cancel := context.WithCancel(r.t.Context())
	var others sync.WaitGroup
	others.Go(func() { r.others(ctx) })
	defer others.Wait()
	defer cancel()
	r.verdict = func(*Report) {
		r.note("%d messages of others between; %d came again, in %d pieces", r.firsts.Foreign, r.firsts.Repeats, r.firsts.Pieces)
		if r.firsts.Foreign == 0 || r.firsts.Repeats == 0 {
			r.t.Errorf("%d messages of others, %d came again: this run proves nothing", r.firsts.Foreign, r.firsts.Repeats)
		}
	}
	for k := range rounds {
		r.nap(20*time.Millisecond, 700*time.Millisecond)
		switch k % 4 {
		case 0:
			r.killDaemon(r.daemons[0], true)
		case 1:
			r.killBroker()
		case 2:
			r.trouble(r.toBroker, r.dice.IntN(9))
		case 3:
			r.killDaemon(r.daemons[0], false)
		}
	}
	at := time.Now()
	r.await(mark{from: at, after: at})
}

// others is somebody else who writes to the stream.
func (r *rig) others(ctx context.Context) {
	nc, err := nats.Connect(r.url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		r.t.Error(err)
		return
	}
	defer nc.Close()
	for ctx.Err() == nil {
		_ = nc.Publish("other.x", []byte("somebody else's")) // the broker may be down
		select {
		case <-time.After(3 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
