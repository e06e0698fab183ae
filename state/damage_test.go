package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// furnish writes some of everything, in many synced writes, and returns what the
// store held after each.
func furnish(t testing.TB, s *Store) (history map[string]bool) {
	t.Helper()
	p := pipelineT(t, s, "shop")
	history = map[string]bool{dump(t, s): true}
	step := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		history[dump(t, s)] = true
	}
	step(p.Claiming(7, false))
	step(p.RecordSteps(Steps{Fingerprint: "f", Digests: []string{"a"}}))
	for i := range 40 {
		if i%10 == 0 {
			step(p.Schemas().Put("pos", bytes.Repeat([]byte("s"), 50)))
			step(p.Gaps().Put(fmt.Sprint(i), []byte("gap")))
		}
		var c Changes
		c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: "mask"}, Reason: "bad", Position: "p"}, txRow(testSchema(1), fmt.Sprint("tx:", i)))
		c.Put("count", fmt.Append(nil, "key", i%7), bytes.Repeat([]byte{byte(i)}, 200), Origin{Tx: "t", Row: uint64(i), Messages: uint64(i)})
		c.End(sdk.Position(fmt.Sprint(i)), true, false)
		step(p.Persist(&c))
		step(p.Commit(Checkpoint{Position: "p", Token: "t", Number: uint64(i)}))
		if i == 20 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return history
}

// dump is the content of a store as one text.
func dump(t testing.TB, s *Store) string {
	t.Helper()
	text, err := dumped(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dumped takes no notice of the mark that a store is behind what it was.
func dumped(s *Store) (string, error) {
	h := sha256.New()
	err := s.each(nil, func(key, value []byte) error {
		if _, kind, ok := cutPipeline(key); ok && kind == kindCheckpoint {
			value = bytes.Replace(value, []byte(`,"restored":true`), nil, 1)
		}
		fmt.Fprintf(h, "%q %q\n", key, value)
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// look opens a directory, as a daemon would and as a look at it would, and returns
// what it holds or what is wrong.
// marked says that the next start makes again what is missing.
func look(dir string) (text string, marked bool, err error) {
	var log bytes.Buffer
	s, err := Open(dir, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		return "", false, err
	}
	marked = strings.Contains(log.String(), "lost its last writes")
	v, err := s.Survey()
	var derr error
	text, derr = dumped(s)
	if err = errors.Join(err, derr); err == nil && len(v.Damage) > 0 {
		err = s.corrupt(errors.New(v.Damage[0]))
	}
	cerr := s.Close()
	if err == nil {
		err = cerr
	}
	return text, marked, err
}

// damages are ways to damage a file; each gives nil where it would change nothing.
func damages(data []byte) map[string][]byte {
	out := map[string][]byte{}
	for _, at := range []int{0, 1, len(data) / 4, len(data) / 2, len(data) * 3 / 4, len(data) - 9, len(data) - 1} {
		if at >= 0 && at < len(data) {
			flipped := bytes.Clone(data)
			flipped[at] ^= 0x10
			out[fmt.Sprint("flip at ", at)] = flipped
		}
	}
	for _, n := range []int{0, len(data) / 3, len(data) * 2 / 3, len(data) - 1} {
		if n >= 0 && n < len(data) {
			out[fmt.Sprint("cut to ", n)] = data[:n]
		}
	}
	return out
}

const damageEnv = "CDCD_TEST_DAMAGE_DIR"

// Every file of the directory, flipped and cut off in many places, is noticed, by
// name, and nothing is changed in silence. In a process of its own: one that panics or
// exits, wherever, fails.
func TestDamageIsNeverSilent(t *testing.T) {
	if os.Getenv(damageEnv) != "" {
		damageChild(t, os.Getenv(damageEnv))
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDamageIsNeverSilent$", "-test.v")
	cmd.Env = append(os.Environ(), damageEnv+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("tried: ")) {
		t.Fatalf("%v\n%.6000s", err, out)
	}
	t.Logf("%s", out)
}

func damageChild(t *testing.T, dir string) {
	closed, crashed := filepath.Join(dir, "closed"), filepath.Join(dir, "crashed")
	s := openT(t, closed, Options{})
	history := furnish(t, s)
	whole := dump(t, s)
	// What a killed process leaves: the log is not in tables, and there is no seal.
	if err := os.CopyFS(crashed, os.DirFS(closed)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var tried, noticed, harmless, older int
	for _, image := range []string{closed, crashed} {
		files, err := os.ReadDir(image)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if f.Name() == "LOCK" {
				continue
			}
			data, err := os.ReadFile(filepath.Join(image, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			ways := damages(data)
			ways["gone"] = nil
			for way, bad := range ways {
				at := filepath.Join(dir, "tried")
				if err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(image))); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(at, f.Name())
				if way == "gone" {
					err = os.Remove(path)
				} else {
					err = os.WriteFile(path, bad, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				tried++
				what := filepath.Base(image) + "/" + f.Name() + ", " + way
				got, marked, err := look(at)
				if os.Getenv("CDCD_TEST_DAMAGE_LOG") != "" {
					fmt.Println(what, got == whole, err)
				}
				switch f2 := fault.Of(err); {
				case err != nil && f2.Code == "unexpected":
					t.Errorf("%s: no fault: %v", what, err)
				case err != nil && (f2.Hint == "" || f2.Class != fault.Environment):
					t.Errorf("%s: %+v", what, f2)
				case err != nil:
					noticed++
				case got == whole && !marked:
					harmless++
				case marked && image == crashed && strings.HasSuffix(f.Name(), ".log") && history[got]:
					older++ // Pebble takes what is damaged for the log's end
				default:
					t.Errorf("%s: other content, in silence; marked %t", what, marked)
				}
			}
		}
	}
	fmt.Printf("tried: %d, noticed %d, harmless %d, an earlier state %d\n", tried, noticed, harmless, older)
	if noticed+older < tried/2 || older == 0 {
		t.Error("too few are noticed")
	}
}

// waitOver fails a test that hangs.
func waitOver(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s hangs", what)
	}
}
