package oracle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// noLarge is a load that small disks have room for, once they are freed.
var noLarge = Options{LargeEvery: -1}

// diskScenarios are those of disks that are full, lie, or forget.
func diskScenarios() []scenario {
	return []scenario{
		{name: "disk of the broker full, and freed", share: 0.005, least: 1, harm: fillBroker, setup: func(t *testing.T) setup {
			dir := testserver.SmallDisk(t, 256<<20)
			return setup{db: testserver.MySQL(t), load: noLarge, brokers: []*testserver.NATSServer{
				testserver.NATS(t, testserver.NATSStore(dir), testserver.JetStreamConfig("max_file_store: 100GB"))}}
		}},
		{name: "disk of cdcd's state full, and freed", share: 0.005, least: 2, harm: fillState, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), brokers: one(t), steps: numberAll,
				stateDir: filepath.Join(testserver.SmallDisk(t, 96<<20), "state")}
		}},
		{name: "disk of cdcd with its broker in it full, and freed", share: 0.005, least: 1, harm: fillState, setup: func(t *testing.T) setup {
			return setup{db: testserver.MariaDB(t), steps: filterAll, load: noLarge, maxBytes: "190MiB",
				stateDir: filepath.Join(testserver.SmallDisk(t, 256<<20), "state")}
		}},
		{name: "broker forgets its last 200 ms", share: 0.02, least: 2, harm: forget, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), steps: maskEmail, masked: masked}
		}},
		{name: "bits flip in, or ends are cut off, the broker's files", share: 0.02, least: 8, whole: damageOne, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: one(t), load: Options{LargeEvery: 15}}
		}},
		{name: "the same in one of three brokers, which then leads", share: 0.005, least: 1, whole: damageOneOfThree, setup: func(t *testing.T) setup {
			return setup{db: testserver.MySQL(t), brokers: testserver.NATSCluster(t, 3), load: Options{LargeEvery: 15}}
		}},
	}
}

// fillBroker fills the broker's disk until cdcd says that something is wrong,
// and frees it. A nats-server that met a full disk may stay wedged: then it is
// started again, which is what its operator would have to do.
func fillBroker(r *rig, rounds int) {
	r.outages = true
	restarts := 0
	for range rounds {
		r.nap(200*time.Millisecond, 700*time.Millisecond)
		free := testserver.FillDisk(r.t, r.broker().StoreDir(), 0)
		r.faults++
		r.awaitTrouble()
		r.nap(0, time.Second)
		at := time.Now()
		free()
		if !r.flows(at, 8*time.Second) {
			restarts++
			r.broker().Kill()
			r.broker().Restart(r.t)
		}
		r.await(mark{from: at, after: at})
	}
	if restarts > 0 {
		r.note("nats-server stayed wedged %d times and was started again", restarts)
	}
}

// fillState fills the disk of cdcd's own state, and of the broker that is embedded
// in it: it must end rather than run on with a state that it can't write, and be
// none the worse once there is room, at most after its supervisor has started it
// again.
func fillState(r *rig, rounds int) {
	r.outages = true
	for range rounds {
		r.nap(200*time.Millisecond, time.Second)
		free := testserver.FillDisk(r.t, filepath.Dir(r.stateDir), 0)
		r.faults++
		r.awaitTrouble()
		r.nap(0, time.Second)
		at := time.Now()
		free()
		r.await(mark{from: at, after: at})
	}
}

// awaitTrouble waits until the first daemon says that it does not stream, or has
// ended.
func (r *rig) awaitTrouble() {
	r.t.Helper()
	r.waitFor("cdcd to say what is wrong", func() bool { return r.daemons[0].status().State != "streaming" })
}

// flows waits for messages, for as long as it is given.
func (r *rig) flows(after time.Time, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if last, err := r.last(dataSubjects); err == nil && last.Time.After(after) {
			return true
		}
	}
	return false
}

// image is a directory as it was.
type image struct{ dir, of string }

func (r *rig) image(of string) image {
	r.t.Helper()
	dir, err := os.MkdirTemp(r.dir, "image")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(of))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return image{dir, of}
}

// restore makes the directory what it was.
func (i image) restore(t *testing.T) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(i.of), os.CopyFS(i.of, os.DirFS(i.dir))); err != nil {
		t.Fatal(err)
	}
}

func (i image) remove() { _ = os.RemoveAll(i.dir) } // the test's own directory ends with it anyway

// crashNow is what a crash of the broker at this moment would leave of its files.
func (r *rig) crashNow(b *testserver.NATSServer) image {
	r.t.Helper()
	b.Pause()
	defer b.Resume()
	return r.image(b.StoreDir())
}

// crashTo kills the broker, and leaves it what it had then.
func (r *rig) crashTo(then image, b *testserver.NATSServer) {
	r.t.Helper()
	b.Kill()
	r.kills++
	r.faults++
	then.restore(r.t)
	then.remove()
}

// forget lets the broker lose what it took in its last moments, as a power cut
// does to one that syncs lazily, while cdcd's state keeps what it knows. What was
// lost must be sent again, with the same numbers and the same content.
func forget(r *rig, rounds int) {
	r.outages = true
	d, b := r.daemons[0], r.broker()
	seen := &resent{was: map[string]string{}}
	r.observe, r.verdict = seen.again, seen.verdict
	lost := uint64(0)
	for k := range rounds {
		r.nap(300*time.Millisecond, time.Second)
		before := r.crashNow(b)
		at := r.streamNow()
		r.waitFor("something to forget", func() bool {
			now, err := r.stream()
			return err == nil && now.State.LastSeq > at.State.LastSeq
		})
		time.Sleep(200 * time.Millisecond)
		if k%2 == 0 {
			d.kill()
			r.kills++
		}
		ctx, cancel := contextFor(r.t, 20*time.Second)
		if _, err := ReadFrom(ctx, r.conn, streamName, at.State.LastSeq, seen.first); err != nil {
			r.t.Fatal(err)
		}
		cancel()
		r.crashTo(before, b)
		from := time.Now()
		b.Restart(r.t)
		if k%2 == 0 {
			lost += seen.last - min(seen.last, r.streamNow().State.LastSeq)
			d.start()
		}
		r.await(mark{from: from, after: from, claims: true})
	}
	if lost == 0 && rounds > 0 {
		r.t.Error("the broker forgot nothing: this run proves nothing")
	}
	r.note("%d messages forgotten while cdcd was down, and sent again the same", lost)
}

// resent compares messages that were lost with those that are sent in their place.
type resent struct {
	was     map[string]string // by Cdc-Seq
	last    uint64            // of the stream, as read
	changed []string
	same    int
}

func (s *resent) content(m Message) string {
	return m.Subject + " " + m.header(headerPos) + " " + string(m.Body)
}

func (s *resent) first(m Message) {
	s.last = m.Sequence
	if m.header(headerKind) == "" {
		s.was[m.header(headerSeq)] = s.content(m)
	}
}

func (s *resent) again(m Message) {
	was, known := s.was[m.header(headerSeq)]
	switch {
	case !known || m.header(headerKind) != "":
	case was == s.content(m):
		s.same++
	default:
		s.changed = append(s.changed, fmt.Sprintf("message %d, Cdc-Seq %s, is %.300s\nwas %.300s", m.Sequence, m.header(headerSeq), s.content(m), was))
	}
}

func (s *resent) verdict(report *Report) {
	report.Changed += len(s.changed)
	report.Findings = append(report.Findings, s.changed...)
	if s.same < len(s.was) {
		report.Lost += len(s.was) - s.same - len(s.changed)
		report.Findings = append(report.Findings, fmt.Sprintf("%d messages were there before the broker forgot, %d of them are now", len(s.was), s.same))
	}
}

// blocks are the files of the stream's messages in a broker's store, in order.
func blocks(t *testing.T, store string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(store, "jetstream", "$G", "streams", streamName, "msgs", "*.blk"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no blocks in %s: %v", store, err)
	}
	byNumber := make([]string, 0, len(found))
	for n := 1; len(byNumber) < len(found) && n < 10_000; n++ {
		path := filepath.Join(filepath.Dir(found[0]), fmt.Sprintf("%d.blk", n))
		if _, err := os.Stat(path); err == nil {
			byNumber = append(byNumber, path)
		}
	}
	return byNumber
}

// damage flips a bit or cuts the end off one of the blocks, and says what it did.
func (r *rig) damage(paths []string, kind int) string {
	r.t.Helper()
	which := map[int]int{0: len(paths) - 1, 1: r.dice.IntN(len(paths)), 2: 0, 3: len(paths) - 1}[kind/2%4]
	path := paths[which]
	content, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	at := r.dice.IntN(len(content))
	what := fmt.Sprintf("bit flipped at %d of %d in block %d of %d", at, len(content), which+1, len(paths))
	if kind%2 == 0 {
		content[at] ^= 1 << r.dice.IntN(8)
	} else {
		content = content[:at]
		what = strings.Replace(what, "bit flipped", "cut off", 1)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.faults++
	return what
}
