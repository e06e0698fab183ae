package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// noise is text that does not compress.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b) // never fails
	return string(b)
}

// piecesOf counts the pieces of a pipeline's dead letters.
func piecesOf(t testing.TB, p *Pipeline) (n int) {
	t.Helper()
	if err := p.s.each(bodiesKey(p.name), func(_, _ []byte) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// refuseLarge makes a dead letter of a row with the note.
func refuseLarge(t testing.TB, p *Pipeline, step, note string) DeadLetterKey {
	t.Helper()
	var c Changes
	c.Refuse(DeadLetter{DeadLetterKey: DeadLetterKey{Step: step}, Position: "uuid:1-6", Reason: "bad", Time: time.UnixMicro(7).UTC()},
		testRows(testSchema(3), note).Row(1))
	c.End("p", true, false)
	if err := p.Persist(&c); err != nil {
		t.Fatal(err)
	}
	return DeadLetterKey{step, "uuid:7", 1}
}

// A large row is in pieces, which a look at the letters doesn't read and a purge
// takes away; one that lacks a piece, or has another one, is known and named.
func TestLargeDeadLetters(t *testing.T) {
	s := openT(t, t.TempDir(), Options{})
	p := pipelineT(t, s, "shop")
	note := noise(5*pieceBytes + 100)
	k := refuseLarge(t, p, "a", note)
	other := refuseLarge(t, p, "b", "small")
	if n := piecesOf(t, p); n != 7 {
		t.Fatalf("%d pieces", n)
	}
	d, ok, err := p.DeadLetter(k)
	if err != nil || !ok || string(d.Batch.Row(0).After().Bytes(1)) != note || d.Bytes < len(note) {
		t.Fatal(d, ok, err)
	}
	for what, damage := range map[string]func(key []byte) error{
		"piece 3 of 6 is missing": func(key []byte) error {
			b := s.db.NewBatch()
			return errors.Join(b.Delete(key, nil), s.commit(b))
		},
		"another sum": func(key []byte) error {
			return p.set(key, append([]byte{valueVersion}, make([]byte, pieceBytes)...))
		},
	} {
		if err := damage(bodyPieceKey("shop", d.body.id, 2)); err != nil {
			t.Fatal(err)
		}
		_, ok, err := p.DeadLetter(k)
		if f := fault.Of(err); ok || f.Code != CodeCorrupt || f.Hint == "" || !strings.Contains(err.Error(), k.String()) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v %v", what, ok, err)
		}
		if v, err := s.Survey(); err != nil || len(v.Damage) == 0 {
			t.Errorf("%s: %+v %v", what, v, err)
		}
	}
	var listed []DeadLetter // as if nothing were wrong: no row is read
	if err := p.DeadLettersBehind(DeadLetterKey{}, func(d DeadLetter) error { listed = append(listed, d); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(listed) != 2 || listed[0].Batch != nil || listed[0].Table != "shop.orders" || listed[0].Op != sdk.OpInsert || listed[0].LogPos != "binlog.1:0" || listed[0].Bytes < len(note) {
		t.Fatalf("%+v", listed)
	}
	if n, err := p.DeleteDeadLetters([]DeadLetterKey{k, k, other}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n := piecesOf(t, p); n != 0 {
		t.Fatalf("%d pieces are left", n)
	}
}

// What is to be published is taken in parts that fit in memory.
func TestUnpublishedIsBounded(t *testing.T) {
	p := pipelineT(t, openT(t, t.TempDir(), Options{}), "shop")
	p.Outbox()
	note := strings.Repeat("x", unpublishedBytesMax/2)
	for _, step := range []string{"a", "b", "c"} {
		refuseLarge(t, p, step, note)
	}
	for _, want := range []int{2, 1, 0} {
		letters, err := p.Unpublished(10)
		if err != nil || len(letters) != want {
			t.Fatalf("%d letters, want %d; %v", len(letters), want, err)
		}
		if err := p.Published(letters); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is refused, refused again, replayed, taken back, trimmed and purged, each
// row that is kept belongs to one letter or to what takes one back, and each letter
// can be read.
func TestRowsBelongToLetters(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		now := time.Unix(1e9, 0)
		o := Options{FS: vfs.NewMem(), Now: func() time.Time { return now }}
		s, err := Open("state", o)
		if err != nil {
			r.Fatal(err)
		}
		defer func() { s.Close() }()
		p := pipelineT(t, s, "p")
		pos, replays := 0, uint64(0)
		key := func() DeadLetterKey {
			return DeadLetterKey{rapid.SampledFrom([]string{"a", "b"}).Draw(r, "step"), fmt.Sprint("tx", rapid.IntRange(0, 3).Draw(r, "tx")), 3}
		}
		persist := func(fill func(*Changes)) {
			var c Changes
			fill(&c)
			pos++
			c.End(sdk.Position(fmt.Sprint(pos)), true, false)
			if err := p.Persist(&c); err != nil {
				r.Fatal(err)
			}
		}
		refuse := func(c *Changes) {
			k := key()
			c.Refuse(DeadLetter{DeadLetterKey: k, Reason: "r"}, txRow(testSchema(1), k.Tx))
		}
		r.Repeat(map[string]func(*rapid.T){
			"refuse":     func(*rapid.T) { persist(refuse) },
			"refuse two": func(*rapid.T) { persist(func(c *Changes) { refuse(c); refuse(c) }) },
			"replay": func(*rapid.T) {
				k, again := key(), rapid.Bool().Draw(r, "refused again")
				persist(func(c *Changes) {
					replays++
					c.Replayed(k, Origin{Tx: ReplayTx(replays, k), Replay: replays})
					if again {
						c.Refuse(DeadLetter{DeadLetterKey: k, Reason: "again"}, txRow(testSchema(1), k.Tx))
					}
				})
			},
			"mark": func(*rapid.T) {
				if err := p.MarkAll("x"); err != nil {
					r.Fatal(err)
				}
			},
			"roll back": func(*rapid.T) {
				to := rapid.IntRange(max(0, pos-4), pos).Draw(r, "to")
				_, err := p.RollBack(Cut{Base: sdk.Position(fmt.Sprint(to)), Moved: true}, func(end sdk.Position) (bool, error) {
					var n int
					_, err := fmt.Sscan(string(end), &n)
					return n <= to, err
				})
				if fault.HasCode(err, CodeHistoryGone) { // forgotten, or trimmed
					return
				}
				if err != nil {
					r.Fatal(err)
				}
				pos = to
			},
			"trim": func(*rapid.T) {
				now = now.Add(UndoAgeMin / 2)
				n, _ := p.Changed()
				if err := p.Commit(Checkpoint{Changes: n}); err != nil {
					r.Fatal(err)
				}
			},
			"forget": func(*rapid.T) {
				if _, err := p.Forget(); err != nil {
					r.Fatal(err)
				}
			},
			"purge": func(*rapid.T) {
				if _, err := p.DeleteDeadLetters([]DeadLetterKey{key(), key()}); err != nil {
					r.Fatal(err)
				}
			},
			"open anew": func(*rapid.T) {
				undo := p.undo
				if err := s.Close(); err != nil {
					r.Fatal(err)
				}
				if s, err = Open("state", o); err != nil {
					r.Fatal(err)
				}
				if p = pipelineT(t, s, "p"); p.undo != undo {
					r.Fatalf("%d bytes of history, were %d", p.undo, undo)
				}
			},
			"": func(*rapid.T) {
				if v, err := s.Survey(); err != nil || len(v.Damage) > 0 {
					r.Fatalf("%+v %v", v, err)
				}
				n := 0
				if err := p.EachDeadLetter(func(d DeadLetter) error { n++; return nil }); err != nil || n != p.DeadLetters() {
					r.Fatal(n, p.DeadLetters(), err)
				}
			},
		})
	})
}

// A flipped bit in a dead letter of megabytes is found as quickly as any other, and
// what is whole is saved.
func TestFlippedBitInALargeDeadLetter(t *testing.T) {
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "at")
	s := openT(t, image, Options{})
	p := pipelineT(t, s, "shop")
	if err := refuseT(t, p, "small", 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	large := refuseLarge(t, p, "large", noise(8<<20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(image, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	const most = 45 * time.Second // of minutes; a busy disk takes a second for each of the syncs
	for _, path := range tables {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range []int{10, len(data) / 2, len(data) - 60} {
			if err := errors.Join(os.RemoveAll(at), os.CopyFS(at, os.DirFS(image))); err != nil {
				t.Fatal(err)
			}
			data[place] ^= 4
			if err := os.WriteFile(filepath.Join(at, filepath.Base(path)), data, 0o600); err != nil {
				t.Fatal(err)
			}
			data[place] ^= 4
			what := fmt.Sprintf("%s, bit flipped at %d of %d", filepath.Base(path), place, len(data))
			begin := time.Now()
			s, err := Open(at, Options{})
			var letters []string
			if err == nil {
				p, perr := s.Pipeline("shop")
				if err = perr; err == nil {
					letters = keysBehind(t, p, DeadLetterKey{})
					_, _, err = p.DeadLetter(large)
				}
				s.Close()
			}
			opened := time.Since(begin)
			if !fault.HasCode(err, CodeCorrupt) || opened > most {
				t.Errorf("%s: %v after %v, %d letters", what, err, opened, len(letters))
			}
			q, err := Quarantine(at, []string{"shop"}, time.Now(), quiet())
			if err != nil || len(q.Lost) == 0 || q.DeadLetters > 3 {
				t.Errorf("%s: %+v %v", what, q, err)
			}
			if took := time.Since(begin) - opened; took > most {
				t.Errorf("%s: saved after %v", what, took)
			}
			s = openT(t, at, Options{})
			if v, err := s.Survey(); err != nil || len(v.Damage) > 0 {
				t.Errorf("%s: %+v %v", what, v, err)
			}
			if got := keysBehind(t, pipelineT(t, s, "shop"), DeadLetterKey{}); len(got) != q.DeadLetters {
				t.Errorf("%s: %d saved, %v", what, q.DeadLetters, got)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("%s: opened in %v, %d saved", what, opened.Round(time.Millisecond), q.DeadLetters)
		}
	}
}
