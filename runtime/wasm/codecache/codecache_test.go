package codecache

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/skip"
)

const place = "engine-1/module"

func openAt(t testing.TB, dir string, bytesMax int64) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: dir, BytesMax: bytesMax, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func key(n byte) Key { return Key{n} }

// content is of an odd size and can't be guessed.
func content(n byte) []byte {
	return bytes.Repeat([]byte{n, n + 1, n + 2, 7, 0}, 20_001)
}

func put(t testing.TB, c *Cache, k Key, p []byte) {
	t.Helper()
	code, err := c.NewCopy()
	if err != nil {
		t.Fatal(err)
	}
	defer code.Close()
	if err := code.Place(place, bytes.NewReader(p)); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(k, code); err != nil {
		t.Fatal(err)
	}
}

// get reads an entry the way an engine does, and nil when there is none.
func get(t testing.TB, c *Cache, k Key) []byte {
	t.Helper()
	code := c.Get(k)
	if code == nil {
		return nil
	}
	defer code.Close()
	p, err := os.ReadFile(filepath.Join(code.Dir(), filepath.FromSlash(place)))
	if err != nil || int64(len(p)) != code.Size() {
		t.Fatal(len(p), code.Size(), err)
	}
	return p
}

// leftovers fails the test unless dir holds entries, key and lock alone.
func leftovers(t testing.TB, dir string) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range names {
		if !isEntry(d.Name()) && d.Name() != secretFile && d.Name() != lockFile {
			t.Errorf("%s is left", d.Name())
		}
	}
}

func TestPutAndGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	c := openAt(t, dir, 1<<30)
	if get(t, c, key(1)) != nil {
		t.Error("it found what is not there")
	}
	put(t, c, key(1), content(1))
	put(t, c, key(2), content(2))
	put(t, c, key(2), content(3)) // again
	for range 2 {
		if !bytes.Equal(get(t, c, key(1)), content(1)) || !bytes.Equal(get(t, c, key(2)), content(3)) {
			t.Error("other content came back")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		leftovers(t, dir)
		c = openAt(t, dir, 1<<30) // as after a restart
	}
	c.Remove(key(1))
	if get(t, c, key(1)) != nil {
		t.Error("it is removed")
	}
	if s := c.Stats(); s.Hits != 0 || s.Misses != 1 || s.Bytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c := openAt(t, dir, 1<<30)
	put(t, c, key(1), content(1))
	_ = filepath.Walk(dir, func(path string, info os.FileInfo, _ error) error {
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return nil
	})
}

func TestRefusesOthersDirectories(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0o770, 0o707, 0o777 | os.ModeSticky, 0o720} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if d, ok := errors.AsType[*DirError](err); !ok || d.Hint == "" || !strings.Contains(d.Error(), "others may write") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // that others may look is mended
		t.Fatal(err)
	}
	openAt(t, dir, 1)
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Error(info.Mode())
	}
	if os.Geteuid() != 0 {
		skip.For(t, "root, who alone can give a directory to another user")
	}
	if err := os.Chown(dir, 4242, -1); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if d, ok := errors.AsType[*DirError](err); !ok || !strings.Contains(d.Error(), "4242") {
		t.Error(err)
	}
}

// Whatever happens to an entry, it is given out whole or not at all, and the
// second miss is not about the same file.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1<<30)
	file := filepath.Join(dir, key(1).file())
	put(t, c, key(1), content(1))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, key(2), content(2))
	other, err := os.ReadFile(filepath.Join(dir, key(2).file()))
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": nil, "header alone": whole[:fixedBytes+len(place)], "short": whole[:len(whole)-1],
		"longer": append(bytes.Clone(whole), 0), "another's": other, "zeros": make([]byte, len(whole))}
	wrong := bytes.Clone(whole)
	for i := range 32 {
		wrong[len(magic)+i] = 0
	}
	damage["wrong MAC"] = wrong
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		at := n // the header, and then anywhere
		if n > fixedBytes+len(place)+8 {
			at = r.IntN(len(whole))
		}
		p := bytes.Clone(whole)
		p[at] ^= 1 << r.IntN(8)
		damage["flipped at "+string(rune('0'+n%10))+time.Duration(at).String()] = p
	}
	for name, p := range damage {
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
		before := c.Stats().Damaged
		if got := get(t, c, key(1)); got != nil {
			t.Errorf("%s: it was given out", name)
		}
		if _, err := os.Lstat(file); !os.IsNotExist(err) || c.Stats().Damaged != before+1 {
			t.Errorf("%s: it is still there: %v", name, err)
		}
		if get(t, c, key(1)) != nil || c.Stats().Damaged != before+1 {
			t.Errorf("%s: damaged twice", name)
		}
	}
	put(t, c, key(1), content(1))
	if !bytes.Equal(get(t, c, key(1)), content(1)) || !bytes.Equal(get(t, c, key(2)), content(2)) {
		t.Error("what is whole is not given out")
	}
}

func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1<<30)
	put(t, c, key(1), content(1))
	file := filepath.Join(dir, key(1).file())
	outside := filepath.Join(t.TempDir(), "entry")
	if err := os.Rename(file, outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, file); err != nil {
		t.Fatal(err)
	}
	if get(t, c, key(1)) != nil {
		t.Error("it followed a link out of the directory")
	}
	_ = os.Remove(file)
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	if get(t, c, key(1)) != nil {
		t.Error("it read a directory")
	}
	put(t, c, key(1), content(1))
	if get(t, c, key(1)) == nil {
		t.Error("a directory in the way")
	}
}

// Without the key, or with one that others may know, nothing verifies.
func TestSecret(t *testing.T) {
	file := func(dir string) string { return filepath.Join(dir, secretFile) }
	tests := map[string]func(dir string) error{
		"missing":  func(dir string) error { return os.Remove(file(dir)) },
		"cut":      func(dir string) error { return os.Truncate(file(dir), 31) },
		"empty":    func(dir string) error { return os.Truncate(file(dir), 0) },
		"readable": func(dir string) error { return os.Chmod(file(dir), 0o644) },
		"another":  func(dir string) error { return os.WriteFile(file(dir), make([]byte, 32), 0o600) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := openAt(t, dir, 1<<30)
			put(t, c, key(1), content(1))
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if get(t, c, key(1)) != nil {
				t.Error("it verified")
			}
			put(t, c, key(1), content(1))
			if !bytes.Equal(get(t, c, key(1)), content(1)) {
				t.Error("it does not work any more")
			}
			if info, err := os.Stat(file(dir)); err != nil || info.Mode().Perm() != 0o600 || info.Size() != secretBytes {
				t.Error(info, err)
			}
		})
	}
}

// What was verified is what is read, also when the file changes in between.
func TestNoTimeBetweenCheckAndUse(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1<<30)
	put(t, c, key(1), content(1))
	code := c.Get(key(1))
	defer code.Close()
	f, err := os.OpenFile(filepath.Join(dir, key(1).file()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteAt(make([]byte, 4000), 0)
	_ = f.Close()
	path := filepath.Join(code.Dir(), filepath.FromSlash(place))
	if p, err := os.ReadFile(path); err != nil || !bytes.Equal(p, content(1)) {
		t.Error("it changed", err)
	}
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		if _, err := f.Write([]byte{1}); err == nil {
			t.Error("the copy can be written to")
		}
		_ = f.Close()
	}
}

func TestBadNames(t *testing.T) {
	c := openAt(t, "", 1)
	for _, name := range []string{"", "one", "/a/b", "../b", "a/../../b", "a/", "/b", "a/b/c", strings.Repeat("a", 300) + "/b"} {
		code, err := c.NewCopy()
		if err != nil {
			t.Fatal(err)
		}
		if code.Place(name, strings.NewReader("x")) == nil {
			t.Errorf("%q", name)
		}
		code.Close()
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	dir := t.TempDir()
	size := int64(len(content(1)) + fixedBytes + len(place))
	c := openAt(t, dir, 4*size)
	for n := range byte(4) {
		put(t, c, key(n), content(n))
		old := time.Now().Add(time.Duration(n)*time.Minute - time.Hour)
		if err := os.Chtimes(filepath.Join(dir, key(n).file()), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Bytes != 4*size || s.Evictions != 0 {
		t.Errorf("%+v", s)
	}
	get(t, c, key(0)) // used now
	put(t, c, key(9), content(9))
	for n, want := range map[byte]bool{0: true, 1: false, 2: false, 3: true, 9: true} {
		if got := get(t, c, key(n)) != nil; got != want {
			t.Errorf("entry %d is there: %v", n, got)
		}
	}
	if s := c.Stats(); s.Bytes != 3*size || s.Evictions != 2 { // to nine tenths
		t.Errorf("%+v", s)
	}
	leftoverBytes := int64(0)
	for _, f := range entries(t, dir) {
		leftoverBytes += f.Size()
	}
	if leftoverBytes != c.Stats().Bytes {
		t.Errorf("%d bytes are there, %d counted", leftoverBytes, c.Stats().Bytes)
	}
}

func entries(t testing.TB, dir string) (list []os.FileInfo) {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range names {
		if info, err := d.Info(); err == nil && isEntry(d.Name()) {
			list = append(list, info)
		}
	}
	return list
}

// One entry over the limit is kept as long as it is the newest: it is in use.
func TestTooLargeForTheCache(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1)
	for n := range byte(3) {
		put(t, c, key(n), content(n))
		if list := entries(t, dir); len(list) != 1 || list[0].Name() != key(n).file() {
			t.Errorf("%v", list)
		}
	}
}

// Two that share a directory put, get, damage and prune at the same time.
func TestTwoShareADirectory(t *testing.T) {
	dir := t.TempDir()
	size := int64(len(content(1)) + fixedBytes + len(place))
	var wg sync.WaitGroup
	for range 2 {
		c := openAt(t, dir, 5*size)
		for g := range 3 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), 1))
				for range 60 {
					n := byte(r.IntN(8))
					if p := get(t, c, key(n)); p == nil {
						put(t, c, key(n), content(n))
					} else if !bytes.Equal(p, content(n)) {
						t.Errorf("entry %d has other content", n)
					}
					if r.IntN(10) == 0 {
						_ = os.Truncate(filepath.Join(dir, key(n).file()), int64(r.IntN(100)))
					}
				}
			})
		}
	}
	wg.Wait()
	if list := entries(t, dir); len(list) > 8 {
		t.Errorf("%d entries", len(list))
	}
}

func TestLeftoversOfTheDead(t *testing.T) {
	dir := t.TempDir()
	alive := openAt(t, dir, 1<<30)
	dead := filepath.Join(dir, runPrefix+"dead")
	if err := os.MkdirAll(filepath.Join(dead, "code-1", "engine"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(dead, lockFile), filepath.Join(dir, temporaryPrefix+"old"), filepath.Join(dir, temporaryPrefix+"young")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * temporaryAgeMax)
	if err := os.Chtimes(filepath.Join(dir, temporaryPrefix+"old"), long, long); err != nil {
		t.Fatal(err)
	}
	openAt(t, dir, 1<<30)
	for name, want := range map[string]bool{dead: false, alive.run.dir: true,
		filepath.Join(dir, temporaryPrefix+"old"): false, filepath.Join(dir, temporaryPrefix+"young"): true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(t, alive, key(1), content(1))
	if get(t, alive, key(1)) == nil {
		t.Error("the living one was hurt")
	}
}

// A disk that takes nothing more costs the entry, not the work.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	c := openAt(t, dir, 1<<30)
	put(t, c, key(1), content(1))
	c.run.dir = filepath.Join(dir, "gone") // as good as full
	if _, _, err := c.Scratch(0); err == nil {
		t.Error("it found room where there is none")
	}
	work, remove, err := c.Scratch(1)
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(work); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, _, err := c.Scratch(9); !errors.Is(err, ErrNoPlace) {
		t.Error("it tries for ever:", err)
	}
}

func TestNoDirectory(t *testing.T) {
	c := openAt(t, "", 1)
	put(t, c, key(1), content(1))
	if get(t, c, key(1)) != nil {
		t.Error("found")
	}
	dir, remove, err := c.Scratch(0)
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

func BenchmarkGet(b *testing.B) {
	c := openAt(b, b.TempDir(), 1<<30)
	put(b, c, key(1), bytes.Repeat(content(1), 150)) // 15 MB
	b.ReportAllocs()
	for b.Loop() {
		c.Get(key(1)).Close()
	}
}

// Any file in the place of an entry is read without harm.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(magic))
	f.Add(append(append([]byte(magic), make([]byte, 32)...), 3, 0, 0, 0, 'a', '/', 'b', 'x'))
	f.Fuzz(func(t *testing.T, p []byte) {
		r := bytes.NewReader(p)
		h, err := readHeader(r)
		rest, _ := io.ReadAll(r)
		if err == nil && (len(h.name) > nameBytesMax || fixedBytes+len(h.name)+len(rest) != len(p)) {
			t.Errorf("%+v", h)
		}
	})
}
