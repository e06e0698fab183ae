package runtime_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

// A daemon that is stopped lets its pipelines finish what is in flight; the last copy
// of the state has the checkpoint that they write then.
func TestLastCopyHasTheEnd(t *testing.T) {
	server, ns, dir := testserver.S3(t), testserver.NATS(t), t.TempDir()
	server.Bucket(t, "copies")
	place := fmt.Sprintf("s3://copies/cdcd?addressing=path&region=%s&endpoint=%s", testserver.S3Region, url.QueryEscape(server.URL()))
	d, stop := daemon(t, fmt.Sprintf(`
version: 1
pipelines:
  shop:
    source: {binlog_files: {files: %s, tables: [shop.orders], rate_limit: {rows_per_second: 200}}}
    sink: {jetstream: {stream: SHOP}}
state: {dir: %s, replicate: {url: %q, every: 1h, access_key_id: %s, secret_access_key: %s}}
nats: {url: %q}
`, recording(t, "mysql"), dir, place, testserver.S3Key, testserver.S3Secret, ns.URL()))
	for end := time.Now().Add(time.Minute); d.Status()[0].RowsOut < 100; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing is delivered: %+v", d.Status()[0])
		}
	}
	ns.Pause()
	time.Sleep(200 * time.Millisecond) // some rows are read and not confirmed
	time.AfterFunc(time.Second, ns.Resume)
	stop()
	bucket, err := remote.NewS3(remote.S3Config{URL: place, Key: testserver.S3Key, Secret: unit.NewSecret(testserver.S3Secret)})
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	copied := filepath.Join(t.TempDir(), "state")
	if _, err := remote.Restore(t.Context(), bucket, copied); err != nil {
		t.Fatal(err)
	}
	want, got := checkpointIn(t, dir), checkpointIn(t, copied)
	want.Restored = true
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the last copy's checkpoint (-state +copy):\n%s", d)
	}
}

// checkpointIn is the checkpoint of the pipeline shop in a state directory.
func checkpointIn(t *testing.T, dir string) state.Checkpoint {
	t.Helper()
	s, err := state.Open(dir, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	c, ok, err := p.Load()
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return c
}
