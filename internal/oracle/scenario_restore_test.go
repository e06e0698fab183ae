package oracle

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// restoreScenarios are those in which the machine is lost with its state.
func restoreScenarios() []scenario {
	return []scenario{
		{name: "machine lost, state restored from an object store, MySQL", share: 0.01, least: 4, harm: loseMachine, setup: onMySQL(copied)},
		{name: "machine lost, state restored from an object store, MariaDB", share: 0.01, least: 4, harm: loseMachine, setup: onMariaDB(copied)},
	}
}

// copied is a pipeline of which copies of the state are made.
func copied(t *testing.T, db *testserver.DB) setup {
	t.Helper()
	const bucket = "copies"
	store := testserver.S3(t)
	store.Bucket(t, bucket)
	place := fmt.Sprintf("s3://%s/cdcd?addressing=path&region=%s&endpoint=%s", bucket, testserver.S3Region, url.QueryEscape(store.URL()))
	return setup{db: db, brokers: one(t), steps: numberAll,
		copies: filepath.Join(store.Dir(), bucket, "cdcd"),
		stateKeys: fmt.Sprintf(", replicate: {url: %q, every: 1s, access_key_id: %s, secret_access_key: %s}",
			place, testserver.S3Key, testserver.S3Secret)}
}

// manifests are the files of the copies' manifests, the oldest first.
func (r *rig) manifests() []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.copies, "*", "*.manifest"))
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(path string) bool { // the first is made before the pipeline has begun
		text, err := os.ReadFile(path)
		return err == nil && bytes.Contains(text, []byte(`"lacks":[`))
	})
}

// loseMachine kills cdcd and every other time takes its state directory away, in
// the middle of the load. What comes back from the object store is older than the
// stream, and nothing is lost, repeated or counted otherwise for it.
func loseMachine(r *rig, rounds int) {
	d := r.daemons[0]
	r.number()
	r.waitFor("a copy", func() bool { return len(r.manifests()) > 0 })
	lost := 0
	for k := range rounds {
		r.nap(200*time.Millisecond, 2500*time.Millisecond)
		d.kill()
		r.kills++
		r.faults++
		if k%2 == 0 {
			lost++
			if err := os.RemoveAll(d.state); err != nil {
				r.t.Fatal(err)
			}
		}
		at := time.Now()
		d.start()
		r.await(mark{from: at, after: at, claims: true})
	}
	text, err := os.ReadFile(d.output.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	restored := strings.Count(string(text), "restored the state from a copy")
	again := strings.Count(string(text), "the state is a copy of an earlier time")
	if restored != lost || again == 0 {
		r.t.Errorf("the state was lost %d times, restored %d times, brought up to the stream %d times", lost, restored, again)
	}
	r.note("state lost %d times", lost)
}
