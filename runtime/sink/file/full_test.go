package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/file"
	"github.com/cdcd-io/cdcd/runtime/sink/sinktest"
)

// A disk that is really full: told as such, with nothing but whole and confirmed
// lines in the file; with room, delivery goes on where it was.
func TestRealDiskFull(t *testing.T) {
	dir := testserver.SmallDisk(t, 64<<20)
	cfg := config(filepath.Join(dir, "changes.jsonl"))
	s := file.Open(cfg, env())
	defer s.Close(t.Context())
	f := &sinktest.Feed{Subject: "s", Control: "c", BodyBytes: 1000}
	r := &sinktest.Run{Feed: f, Groups: 20}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	free := testserver.FillDisk(t, dir, 300<<10)
	r.Groups = 100
	err := r.Do(t.Context(), s)
	if f := fault.Of(err); f.Code != file.CodeFull || f.Class != fault.Retryable {
		t.Fatal(err)
	}
	p := place{cfg}
	if n := len(p.Bodies(t)); uint64(n) != r.Hint.Messages {
		t.Errorf("%d lines in the file, %d delivered", n, r.Hint.Messages)
	}
	if err := r.Do(t.Context(), s); !fault.HasCode(err, file.CodeFull) { // still
		t.Fatal(err)
	}
	free()
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	bodies := p.Bodies(t)
	if err := f.Check(bodies); err != nil || uint64(len(bodies)) != r.Hint.Messages {
		t.Errorf("%d lines in the file, %d delivered: %v", len(bodies), r.Hint.Messages, err)
	}
}

// BenchmarkPublish writes to a real disk: rows of 430 bytes, with the syncs that
// confirming takes.
func BenchmarkPublish(b *testing.B) {
	for name, rotate := range map[string]int{"one file": 0, "files of 16 MiB": 16 << 20} {
		b.Run(name, func(b *testing.B) {
			cfg := config(filepath.Join(b.TempDir(), "changes.jsonl"))
			cfg.Rotate.Bytes = 0
			if rotate > 0 {
				cfg.Rotate.Bytes, cfg.Keep.Files = 16<<20, 3
			}
			s := file.Open(cfg, env())
			defer s.Close(b.Context())
			if _, err := s.Claim(b.Context(), sink.Hint{Position: "p0"}, nil); err != nil {
				b.Fatal(err)
			}
			g := &sink.Group{Base: "p1"}
			for i := range 128 {
				g.Messages = append(g.Messages, sink.Message{Body: make([]byte, 430), Place: sink.Place{Tx: "a:1", Row: uint64(i), Parts: 1}})
				g.Bytes += 430
			}
			b.ReportAllocs()
			began, sent := time.Now(), 0
			go func() {
				for i := 0; i < b.N; i += len(g.Messages) {
					if err := s.Publish(b.Context(), g); err != nil {
						return
					}
				}
			}()
			for sent < b.N {
				got, err := s.Wait(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				sent += len(got) * len(g.Messages)
			}
			b.ReportMetric(float64(sent)/time.Since(began).Seconds(), "rows/s")
			if info, err := os.Stat(cfg.Path); err != nil || info.Size() == 0 {
				b.Error(err)
			}
		})
	}
}
