package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// copyFiles are the objects of one copy: its manifest, and the files that it names.
type copyFiles struct {
	manifest string   // path
	files    []string // paths
}

// sha256Empty is the sum of what is empty: no copy needs the object to know it.
const sha256Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// copyAt reads a manifest, as the product documents it.
func (r *rig) copyAt(manifest string) (c copyFiles, err error) {
	text, err := os.ReadFile(manifest)
	if err != nil {
		return c, err
	}
	var m struct {
		Files []struct {
			SHA256 string `json:"sha256"`
		}
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(first, &m); err != nil {
		return c, err
	}
	c.manifest = manifest
	for _, f := range m.Files {
		c.files = append(c.files, filepath.Join(filepath.Dir(manifest), "files", f.SHA256))
	}
	return c, nil
}

// damageCopies kills cdcd, damages the newest copy of its state and takes the
// state away, in the middle of the load. The copy before it is restored instead;
// where both need the object that is damaged, nothing is, until that is put right.
func damageCopies(r *rig, rounds int) {
	d := r.daemons[0]
	defer r.keepAndRefused(d)()
	came, spoilt := cases{}, map[string]bool{}
	for k := range rounds {
		r.waitFor("two copies of this life", func() bool {
			all := r.manifests()
			return len(all) > 1 && filepath.Dir(all[len(all)-1]) == filepath.Dir(all[len(all)-2]) && !spoilt[filepath.Dir(all[len(all)-1])]
		})
		r.nap(200*time.Millisecond, 1500*time.Millisecond)
		d.kill()
		r.kills++
		kind, way := []string{"manifest", "object of the newest alone", "object of several"}[k%3], (k+k/3)%3
		newest := filepath.Dir(r.manifests()[len(r.manifests())-1])
		path, left, of := r.chosen(kind, spoilt)
		if path == "" { // there is none that only the newest needs, or that all do
			kind = "manifest"
			path, left, of = r.chosen(kind, spoilt)
		}
		was, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		what := r.spoilOne(path, way)
		spoilt[path], spoilt[newest] = true, true
		outcome := r.restoreDamaged(d, left, of, func() {
			if err := os.WriteFile(path, was, 0o600); err != nil {
				r.t.Fatal(err)
			}
			delete(spoilt, path)
		})
		r.t.Logf("seed %d, round %d: %s, %s: %s", r.seed, k, kind, what, outcome)
		came.add(kind+", "+ways[way], outcome)
		at := time.Now()
		d.start()
		r.await(mark{from: at, after: at, claims: true})
	}
	r.t.Logf("\n%s", came)
	r.note("%s", came.totals())
}

// chosen returns an object of the newest copy, whether a copy is left that does
// without it and without what was spoilt before, and that copy's manifest; an empty
// path where there is none of the kind.
func (r *rig) chosen(kind string, spoilt map[string]bool) (path string, left bool, of string) {
	r.t.Helper()
	var copies []copyFiles // that are whole; the newest is
	for _, m := range r.manifests() {
		if spoilt[m] {
			continue
		}
		c, err := r.copyAt(m)
		if err != nil {
			r.t.Fatal(err)
		}
		if !slices.ContainsFunc(c.files, func(f string) bool { return spoilt[f] }) {
			copies = append(copies, c)
		}
	}
	newest := copies[len(copies)-1]
	if of = newest.manifest; kind == "manifest" {
		return of, true, of
	}
	var objects []string
	for _, f := range newest.files {
		others := 0
		for _, c := range copies[:len(copies)-1] {
			if slices.Contains(c.files, f) {
				others++
			}
		}
		if alone := kind == "object of the newest alone"; alone && others == 0 || !alone && others > 0 {
			objects = append(objects, f)
		}
	}
	if len(objects) == 0 {
		return "", false, of
	}
	path = objects[r.dice.IntN(len(objects))]
	if filepath.Base(path) == sha256Empty {
		return path, true, of
	}
	return path, slices.ContainsFunc(copies, func(c copyFiles) bool { return !slices.Contains(c.files, path) }), of
}

// restoreDamaged restores into an empty directory. left says that a copy is whole;
// otherwise the restore names what is wrong, and goes through once it is put right.
// newest is the manifest that was the last one then: the store may come to the end
// of another, with other objects, that cdcd had sent when it was killed.
func (r *rig) restoreDamaged(d *daemon, left bool, newest string, putRight func()) string {
	r.t.Helper()
	if err := os.RemoveAll(d.state); err != nil {
		r.t.Fatal(err)
	}
	restore := func() (string, string, error) {
		from := d.written()
		text, err := d.ask("checkpoint", "restore", d.config, "--remote")
		code, _ := faultIn(from())
		return text, code, err
	}
	text, code, err := restore()
	switch {
	case err == nil && left && strings.Contains(text, "left out"):
		return "an older copy was restored"
	case err == nil && left:
		return "the newest that is listed was restored"
	case err == nil && !strings.Contains(text, "left out") && r.manifests()[len(r.manifests())-1] != newest:
		return "one that came behind the kill was restored"
	case left || code != "replica_damaged":
		r.keep()
		r.t.Fatalf("seed %d: a copy is whole %t, the newest was %s: %s %v\n%s", r.seed, left, newest, code, err, text)
	}
	if entries, rerr := os.ReadDir(d.state); rerr == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".sst") }) {
		// what is there of it must not be taken for a state
		if text, err := d.ask("dlq", "list", d.config); err == nil {
			r.t.Errorf("seed %d: half a restore passes for a state: %s", r.seed, text)
		}
	}
	putRight()
	if text, _, err = restore(); err != nil {
		r.keep()
		r.t.Fatalf("seed %d: the object was put right: %v", r.seed, errors.Join(err, fmt.Errorf("%s", text)))
	}
	return "replica_damaged, until the object was put right"
}
