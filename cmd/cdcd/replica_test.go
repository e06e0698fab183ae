package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

// Copies in an object store are listed, read and brought back; a damaged one is
// named and left out.
func TestCopiesInAnObjectStore(t *testing.T) {
	server := testserver.S3(t)
	bucket := server.Bucket(t, "copies")
	place := fmt.Sprintf("s3://copies/cdcd?addressing=path&region=%s&endpoint=%s", testserver.S3Region, url.QueryEscape(server.URL()))
	file := func(dir, replicate string) string {
		path := filepath.Join(t.TempDir(), "cdcd.yaml")
		text := fmt.Sprintf("version: 1\npipelines: {shop: {source: {binlog_files: {files: [x], tables: [a.b]}}, sink: stdout}}\nstate: {dir: %q%s}\n", dir, replicate)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	replicate := fmt.Sprintf(", replicate: {url: %q, access_key_id: %s, secret_access_key: %s}", place, testserver.S3Key, testserver.S3Secret)
	empty := filepath.Join(t.TempDir(), "state")
	config := file(empty, replicate)
	for _, run := range []interface {
		Run(*console, *signals) error
	}{&checkpointListCmd{Config: config, Remote: true}, &checkpointRestoreCmd{Config: config, Remote: true}} {
		if _, err := verb(t, false, run); !fault.HasCode(err, remote.CodeEmpty) {
			t.Errorf("%T of an empty bucket: %v", run, err)
		}
	}
	for range 2 {
		replicateOnce(t, place)
	}
	text, err := verb(t, false, &checkpointListCmd{Config: config, Remote: true})
	if err != nil || strings.Count(text, "made 20") != 2 {
		t.Errorf("list: %v\n%s", err, text)
	}
	manifests, err := filepath.Glob(filepath.Join(bucket, "cdcd", "*", "*.manifest"))
	if err != nil || len(manifests) != 2 {
		t.Fatalf("%v, %v", manifests, err)
	}
	if err := os.Truncate(manifests[1], 10); err != nil {
		t.Fatal(err)
	}
	text, err = verb(t, false, &checkpointVerifyCmd{Config: config, Remote: true})
	if err == nil || strings.Count(text, "damaged") < 1 || strings.Count(text, "made 20") != 1 {
		t.Errorf("verify: %v\n%s", err, text)
	}
	text, err = verb(t, false, &checkpointRestoreCmd{Config: config, Remote: true})
	if err != nil || !strings.Contains(text, "left out") || !strings.Contains(text, "with 1 pipeline") || !state.Exists(empty) {
		t.Errorf("restore: %v\n%s", err, text)
	}
	if _, err := verb(t, true, &checkpointRestoreCmd{Config: config, Remote: true}); !fault.HasCode(err, remote.CodeOccupied) {
		t.Errorf("restore again: %v", err)
	}
	if _, err := verb(t, false, &checkpointRestoreCmd{Config: config}); !fault.HasCode(err, "usage") {
		t.Errorf("restore of nothing: %v", err)
	}
	if _, err := verb(t, false, &checkpointListCmd{Config: file(empty, ""), Remote: true}); !fault.HasCode(err, "no_replica") {
		t.Errorf("without a place: %v", err)
	}
}

// replicateOnce copies a state with one checkpoint to the place.
func replicateOnce(t *testing.T, place string) {
	t.Helper()
	s, err := state.Open(t.TempDir(), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := s.Pipeline("shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(state.Checkpoint{Position: "here", Exact: true}); err != nil {
		t.Fatal(err)
	}
	b, err := remote.NewS3(remote.S3Config{URL: place, Key: testserver.S3Key, Secret: unit.NewSecret(testserver.S3Secret)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r := remote.New(remote.Config{Store: s, Bucket: b})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.Run(ended) // makes its last copy
	if st := r.Status(); st.Code != "" {
		t.Fatalf("%+v", st)
	}
}
