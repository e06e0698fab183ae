package binlogfile

import (
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/skip"
)

// sakila unpacks the recorded log of the sakila sample database: MySQL 5.5,
// which has neither GTIDs nor names of columns.
func sakila(t testing.TB, env cdc.Env) *Source {
	t.Helper()
	in, err := os.Open("../../../shared/corpus/binlogs/mysql-bin.sakila.gz")
	if err != nil {
		skip.For(t, "the recorded binlogs: ../shared/corpus beside the repository: %v", err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mysql-bin.000001")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, z); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	src, err := New(Config{Files: []string{path}, Tables: []string{"none.none"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestFilteredLog reads a whole log of which nothing is followed: the position
// gets to its end, and nothing of it is in the way.
func TestFilteredLog(t *testing.T) {
	src := sakila(t, cdc.Env{})
	start, err := src.Initial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got, err := cdctest.Read(t, src, cdc.Start{Base: start}, func(cdctest.Recorded) bool { return false })
	if err != io.EOF {
		t.Fatal(err)
	}
	head, _ := src.Head(context.Background())
	if done, err := src.Covers(got[len(got)-1].End, head); !done || err != nil || len(cdctest.Rows(got)) != 0 {
		t.Errorf("ended at %s of %s with %d rows, %v", got[len(got)-1].End, head, len(cdctest.Rows(got)), err)
	}
}

func BenchmarkFiltered(b *testing.B) {
	src := sakila(b, cdc.Env{})
	start, err := src.Initial(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(src.config.Files[0])
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		err := src.Run(context.Background(), cdc.Start{Base: start}, func(_ context.Context, batch *cdc.Batch) error {
			batch.Release()
			return nil
		})
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
