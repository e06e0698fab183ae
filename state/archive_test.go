package state

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// An export that is made while the store is written to is one state of it, whole.
func TestExportAndImport(t *testing.T) {
	s := openT(t, t.TempDir(), Options{})
	p := pipelineT(t, s, "shop")
	var wg sync.WaitGroup
	first, stop := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		for i := uint64(1); ; i++ { // a value and a dead letter with each checkpoint's number
			select {
			case <-stop:
				return
			default:
			}
			var c Changes
			c.Put("s", []byte("n"), fmt.Append(nil, i), Origin{})
			c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: "s"}}, txRow(testSchema(1), fmt.Sprintf("uuid:%06d", i)))
			if err := p.Persist(&c); err != nil {
				t.Error(err)
				return
			}
			if err := p.Commit(Checkpoint{Number: i}); err != nil {
				t.Error(err)
				return
			}
			if i == 1 {
				close(first)
			}
		}
	})
	select {
	case <-first: // there is something to export
	case <-time.After(time.Minute):
		t.Fatal("nothing is written")
	}
	var exports []bytes.Buffer
	for range 5 {
		time.Sleep(5 * time.Millisecond)
		var b bytes.Buffer
		if err := s.Export(&b); err != nil {
			t.Fatal(err)
		}
		exports = append(exports, b)
	}
	close(stop)
	wg.Wait()
	if left, _ := filepath.Glob(filepath.Join(s.Dir(), exporting)); len(left) > 0 {
		t.Error("it leaves", left)
	}
	for i := range exports {
		dir := filepath.Join(t.TempDir(), "new")
		_, names, err := Import(bytes.NewReader(exports[i].Bytes()), dir)
		if err != nil || fmt.Sprint(names) != "[shop]" {
			t.Fatal(names, err)
		}
		r := openT(t, dir, Options{})
		v, err := r.Survey()
		if err != nil || len(v.Damage) > 0 || v.Layout != formatVersion {
			t.Fatalf("%+v %v", v, err)
		}
		q := pipelineT(t, r, "shop")
		c, ok, err := q.Load()
		value, _, _ := q.Values("s").Get([]byte("n"))
		if err != nil || !ok || !c.Restored || fmt.Sprint(c.Number) != string(value) && fmt.Sprint(c.Number+1) != string(value) || fmt.Sprint(q.DeadLetters()) != string(value) {
			t.Errorf("checkpoint %d (restored %t), value %s, %d dead letters: %v", c.Number, c.Restored, value, q.DeadLetters(), err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Import(bytes.NewReader(exports[i].Bytes()), dir); !fault.HasCode(err, CodeDirOccupied) || fault.Of(err).Hint == "" {
			t.Error("over a store:", err)
		}
	}
}

// An archive that is cut off or has one other bit is refused, and so is the
// directory that it was to be brought into, until an import succeeds.
func TestDamagedArchives(t *testing.T) {
	s := openT(t, t.TempDir(), Options{})
	furnish(t, s)
	var b bytes.Buffer
	if err := s.Export(&b); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	if _, err := CheckArchive(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	content := bytes.TrimRight(good, "\x00")
	for at := 0; at < len(content); at += 97 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		_, err := CheckArchive(bytes.NewReader(bad))
		_, cutErr := CheckArchive(bytes.NewReader(good[:at]))
		if !fault.HasCode(cutErr, CodeArchiveDamaged) {
			t.Fatalf("cut at %d: %v", at, cutErr)
		}
		if err != nil && !fault.HasCode(err, CodeArchiveDamaged) {
			t.Fatalf("flip at %d: %v", at, err)
		}
		if err == nil && !inHeader(good, at) { // of tar: the time, the mode
			t.Fatalf("flip at %d of %d is not noticed", at, len(content))
		}
	}
	if _, _, err := Import(bytes.NewReader(good[:len(content)/2]), dir); !fault.HasCode(err, CodeArchiveDamaged) {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !fault.HasCode(err, CodeRestoreUnfinished) {
		t.Fatal("half of a state is opened:", err)
	}
	if _, _, err := Import(bytes.NewReader(good), dir); err != nil {
		t.Fatal("a second try:", err)
	}
	openT(t, dir, Options{})
}

// inHeader reports whether an offset lies in one of the tar file's headers or in
// the bytes that fill up its blocks.
func inHeader(archive []byte, at int) bool {
	for off := 0; off+512 <= len(archive); {
		var size int
		if _, err := fmt.Sscanf(string(archive[off+124:off+135]), "%o", &size); err != nil {
			return true
		}
		if at < off+512 {
			return true
		}
		if off += 512; at < off+size {
			return false
		}
		if off += (size + 511) / 512 * 512; at < off {
			return true
		}
	}
	return true
}

// A damaged store is moved away, and what nothing else has is saved from it.
func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := openT(t, dir, Options{})
	furnish(t, s)
	if _, err := Quarantine(dir, []string{"shop"}, time.Now(), quiet()); !fault.HasCode(err, CodeDirInUse) {
		t.Fatal("under a daemon:", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	data, err := os.ReadFile(tables[len(tables)-1])
	if err != nil {
		t.Fatal(err)
	}
	data[100] ^= 1
	if err := os.WriteFile(tables[len(tables)-1], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := look(dir); !fault.HasCode(err, CodeCorrupt) || !strings.Contains(fault.Of(err).Hint, "cdcd checkpoint quarantine") {
		t.Fatal(err)
	}
	q, err := Quarantine(dir, []string{"shop", "other"}, time.Unix(1e9, 0), quiet())
	if err != nil || len(q.Lost) == 0 || q.DeadLetters == 0 || q.Dir != filepath.Join(dir, "quarantine-20010909T014640Z") {
		t.Fatalf("%+v %v", q, err)
	}
	s = openT(t, dir, Options{})
	p := pipelineT(t, s, "shop")
	if _, ok, err := p.Load(); ok || err != nil {
		t.Error("a checkpoint was taken over:", err)
	}
	if v, err := s.Survey(); err != nil || len(v.Damage) > 0 || p.DeadLetters() != q.DeadLetters || len(p.Gaps().List()) != q.Gaps || v.Pipelines[0].Values != 0 {
		t.Errorf("%+v, %d dead letters: %v", v, p.DeadLetters(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		t.Error("the streams were moved:", err)
	}
	if moved, _ := filepath.Glob(filepath.Join(q.Dir, "*.sst")); len(moved) != len(tables) {
		t.Errorf("%d of %d tables are in quarantine", len(moved), len(tables))
	}
	t.Logf("%+v", q)
}
