package binlogfile

import (
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/cdc/cdctest"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
)

// pack writes a packed copy of a file.
func pack(t testing.TB, file, dir string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file)+".gz")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(out)
	for half := range slices.Chunk(content, len(content)/2+1) { // of several members, as logs that were appended
		if _, err := z.Write(half); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		z.Reset(out)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func sourceOf(t testing.TB, files ...string) *Source {
	t.Helper()
	src, err := New(Config{Files: files, Tables: []string{"shop.orders"}}, cdc.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// rowsOf reads files to their end, or to what is wrong with them.
func rowsOf(t testing.TB, files ...string) ([]cdctest.RecordedRow, error) {
	t.Helper()
	src := sourceOf(t, files...)
	from, err := src.Initial(t.Context())
	if err != nil {
		return nil, err
	}
	got, err := cdctest.Read(t, src, cdc.Start{Base: from}, func(cdctest.Recorded) bool { return false })
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return cdctest.Rows(got), err
}

// TestPacked: packed files and directories give what the plain files do.
func TestPacked(t *testing.T) {
	db := testserver.MariaDB(t)
	files := record(t, db)
	want, err := rowsOf(t, files...)
	if err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var packed []string
	for i, f := range files {
		packed = append(packed, pack(t, f, dir))
		if i == 0 { // one is there both ways
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"binlog.index", "binlog.state", "mysqld.err"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, list := range map[string][]string{"packed": packed, "mixed": {packed[0], files[1], packed[2]}, "directory": {dir}} {
		t.Run(name, func(t *testing.T) {
			got, err := rowsOf(t, list...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatal(d)
			}
			if err := sourceOf(t, list...).Preflight(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("conform", func(t *testing.T) {
		cdctest.Conform(t, func(t testing.TB) cdc.Source { return sourceOf(t, dir) })
	})
	// A position outlives packing and moving.
	plain := sourceOf(t, files...)
	head, _ := plain.Head(t.Context())
	if again, err := sourceOf(t, dir).Head(t.Context()); err != nil || again != head {
		t.Errorf("head %s, of packed files %s, %v", head, again, err)
	}
}

// TestDirectories: what a directory does not stand for.
func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	if _, err := rowsOf(t, dir); !fault.HasCode(err, "files_invalid") || fault.Of(err).Path != "files[0]" {
		t.Errorf("empty: %v", err)
	}
	for _, name := range []string{"a.000001", "b.000002"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rowsOf(t, dir); !fault.HasCode(err, "files_invalid") || !strings.Contains(err.Error(), "several logs") {
		t.Errorf("two logs: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "b.000002")); err != nil {
		t.Fatal(err)
	}
	if _, err := rowsOf(t, dir, filepath.Join(dir, "a.000001")); !fault.HasCode(err, "files_invalid") || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a file beside its directory: %v", err)
	}
	if _, err := rowsOf(t, filepath.Join(dir, "none")); !fault.HasCode(err, "binlog_unreadable") {
		t.Errorf("nothing: %v", err)
	}
}

// offsets returns where the file's events begin.
func offsets(content []byte) (list []int) {
	for at := 4; at+19 <= len(content); at += int(binary.LittleEndian.Uint32(content[at+9:])) {
		list = append(list, at)
	}
	return list
}

// TestDamage: damage is reported where it is, and what is whole before it is
// delivered.
func TestDamage(t *testing.T) {
	db := testserver.MariaDB(t)
	files := record(t, db)
	all, err := rowsOf(t, files...)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	events := offsets(content)
	at := events[len(events)/2]
	for name, c := range map[string]struct {
		code   string
		at     int
		change func([]byte) []byte
	}{
		"a bit is flipped":       {"binlog_checksum", at, func(b []byte) []byte { b[at+20] ^= 4; return b }},
		"a length is wrong":      {"event_too_large", at, func(b []byte) []byte { b[at+12] = 0xff; return b }},
		"a length is too small":  {"binlog_corrupt", at, func(b []byte) []byte { copy(b[at+9:], "\x01\x00\x00\x00"); return b }},
		"zeros follow":           {"binlog_corrupt", at, func(b []byte) []byte { clear(b[at:]); return b }},
		"it ends in a header":    {"binlog_truncated", at, func(b []byte) []byte { return b[:at+10] }},
		"it ends in an event":    {"binlog_truncated", at, func(b []byte) []byte { return b[:at+25] }},
		"nothing but the header": {"binlog_truncated", 4, func(b []byte) []byte { return b[:10] }},
		"nothing":                {"binlog_truncated", 0, func(b []byte) []byte { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, filepath.Base(files[2]))
			damaged := slices.Clone(content)
			damaged[4+17] &^= 1 // it was closed
			if err := os.WriteFile(path, c.change(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, last := range []string{path, pack(t, path, dir)} {
				got, err := rowsOf(t, files[0], files[1], last)
				f := fault.Of(err)
				if f.Code != c.code || f.Hint == "" || !strings.Contains(f.Path, fmt.Sprintf("%s:%d", filepath.Base(last), c.at)) &&
					!strings.Contains(f.Path, fmt.Sprintf("%s:%d", filepath.Base(path), c.at)) {
					t.Errorf("%v at %s, %s at %d was due", err, f.Path, c.code, c.at)
				}
				if len(got) >= len(all) || c.at > 1000 && len(got) == 0 {
					t.Errorf("%d of %d rows", len(got), len(all))
				}
				if d := cmp.Diff(all[:len(got)], got); d != "" {
					t.Error(d)
				}
			}
		})
	}
	t.Run("the packed file", func(t *testing.T) {
		path := pack(t, files[2], t.TempDir())
		packed, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		packed[len(packed)/3] ^= 0x55
		if err := os.WriteFile(path, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := rowsOf(t, files[0], files[1], path)
		// The packer's checksum stands behind the content, which is read before: what
		// tells is the event that the damage is in, by its sum or its length.
		due := []string{"binlog_corrupt", "binlog_checksum", "event_too_large", "binlog_truncated"}
		if f := fault.Of(err); !slices.Contains(due, f.Code) || !strings.Contains(f.Path, "binlog.000003") {
			t.Errorf("%v at %s", err, f.Path)
		}
		if len(got) >= len(all) {
			t.Errorf("%d of %d rows", len(got), len(all))
		}
		if d := cmp.Diff(all[:min(len(got), len(all))], got); d != "" {
			t.Error(d)
		}
	})
}
