package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/bench/host"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/state"
	"github.com/cdcd-io/cdcd/state/remote"
)

// figures is the last line of output.
type figures struct {
	PebbleRSSBytes     int64   `json:"pebble_rss_bytes"`     // by which an open store makes a process grow
	ReplicateCostRatio float64 `json:"replicate_cost_ratio"` // of a job's rows/s, lost to a copy each second: median of the pairs
	ReplicateCost      spread  `json:"replicate_cost"`       // the same with its spread
	ReplicateCPU       spread  `json:"replicate_cpu"`        // by which the job's CPU per row grows
	CopiesPerRun       float64 `json:"copies_per_run"`
	RestoreMS          float64 `json:"restore_ms"` // of a state of stateBytes
	StateBytes         int64   `json:"state_bytes"`
	Rows               int     `json:"rows"`
	Runs               int     `json:"runs"` // of each job
}

const (
	stateBytes  = 24 << 20
	storeWrites = 200_000
	bucketName  = "bench"
	counting    = `
    steps:
      - wasm: number
        allow: [kv]`
)

func main() {
	var f figures
	h := host.New()
	defer h.Close()
	cdcd := flag.String("cdcd", "", "binary to measure; without it, it is built")
	child := flag.String("store", "", "open a store in this folder, write, and print by how much this process has grown")
	flag.IntVar(&f.Rows, "rows", 400_000, "row changes to move")
	flag.IntVar(&f.Runs, "runs", 11, "pairs of runs, one with copies and one without")
	flag.Parse()
	if *child != "" {
		fmt.Println(grown(h, *child))
		return
	}
	f.PebbleRSSBytes = store(h)
	fmt.Printf("an open store, %d writes: %.1f MiB\n", storeWrites, float64(f.PebbleRSSBytes)/(1<<20))
	server := testserver.S3(h)
	server.Bucket(h, bucketName)
	f.restore(h, server)
	f.replicate(h, server, *cdcd)
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		h.Fatal(err)
	}
}

// store lets a process of its own open a store, since this one has grown by other things.
func store(h *host.Host) int64 {
	out, err := exec.Command(os.Args[0], "-store", h.TempDir()).Output()
	if err != nil {
		h.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		h.Fatal(err)
	}
	return n
}

// grown opens a store, writes checkpoints and values, and returns by how much the
// process has grown.
func grown(h *host.Host, dir string) int64 {
	before := resident(h)
	s, p := open(h, dir)
	for n := range storeWrites / 100 {
		var c state.Changes
		for i := range 99 {
			c.Put("step", fmt.Appendf(nil, "key-%d", (n*99+i)%50_000), fmt.Appendf(nil, "value-%d", n), state.Origin{Tx: "tx", Messages: uint64(n)})
		}
		persist(h, p, &c, n)
	}
	after := resident(h)
	if err := s.Close(); err != nil {
		h.Fatal(err)
	}
	return after - before
}

func open(h *host.Host, dir string) (*state.Store, *state.Pipeline) {
	s, err := state.Open(dir, state.Options{})
	if err != nil {
		h.Fatal(err)
	}
	p, err := s.Pipeline("bench")
	if err != nil {
		h.Fatal(err)
	}
	return s, p
}

func persist(h *host.Host, p *state.Pipeline, c *state.Changes, n int) {
	at := sdk.Position(strconv.Itoa(n))
	c.End(at, true, false)
	if err := p.Persist(c); err != nil {
		h.Fatal(err)
	}
	if err := p.Commit(state.Checkpoint{Position: at, Exact: true, Messages: uint64(n)}); err != nil {
		h.Fatal(err)
	}
}

// resident is the process's resident memory in bytes.
func resident(h *host.Host) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		h.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		h.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func place(server *testserver.S3Server, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?addressing=path&region=%s&endpoint=%s", bucketName, prefix, testserver.S3Region, url.QueryEscape(server.URL()))
}

// restore measures how long a state takes to come back from the object store.
func (f *figures) restore(h *host.Host, server *testserver.S3Server) {
	s, p := open(h, h.TempDir())
	const size = 4 << 10
	for n := range stateBytes / size / 64 {
		var c state.Changes
		for i := range 64 {
			value := make([]byte, size)
			_, _ = rand.Read(value) // never fails
			c.Put("step", fmt.Appendf(nil, "%d-%d", n, i), value, state.Origin{Tx: "tx", Messages: uint64(n)})
		}
		persist(h, p, &c, n)
	}
	b, err := remote.NewS3(remote.S3Config{URL: place(server, "restore"), Key: testserver.S3Key, Secret: unit.NewSecret(testserver.S3Secret)})
	if err != nil {
		h.Fatal(err)
	}
	defer b.Close()
	r := remote.New(remote.Config{Store: s, Bucket: b})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.Run(ended) // makes its last copy
	if st := r.Status(); st.Code != "" {
		h.Fatalf("copy: %+v", st)
	}
	f.StateBytes = r.Status().Bytes
	begin := time.Now()
	if _, err := remote.Restore(context.Background(), b, filepath.Join(h.TempDir(), "state")); err != nil {
		h.Fatal(err)
	}
	f.RestoreMS = float64(time.Since(begin).Microseconds()) / 1000
	fmt.Printf("a state of %.1f MiB came back in %.0f ms\n", float64(f.StateBytes)/(1<<20), f.RestoreMS)
	if err := s.Close(); err != nil {
		h.Fatal(err)
	}
}
