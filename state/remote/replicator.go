package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/state"
)

// Defaults of Config.
const (
	EveryDefault = 30 * time.Second
	KeepDefault  = 3
)

const (
	retryMin = time.Second
	retryMax = time.Minute
	// soonAfter is how long after Soon a copy is made: what was done is in the
	// store's checkpoints by then.
	soonAfter = time.Second
	// endTimeout bounds the copy that is made when the daemon ends.
	endTimeout = 10 * time.Second
	// scratch is the folder of the state directory that a copy is made in.
	scratch = "replica"
)

// Config says what a Replicator does.
type Config struct {
	Store  *state.Store
	Bucket Bucket
	Every  time.Duration // between copies, while the store changes; 0 for EveryDefault
	Keep   int           // checkpoints that stay in the bucket; 0 for KeepDefault
	// Needs are pipelines whose connectors keep values. While the store has no
	// checkpoint of one of them, because it begins or its state was lost, copies are
	// made without it, and say so; Keep earlier ones that have it stay beside them,
	// and Restore takes it from there.
	Needs []string
	// Program is the version of cdcd, for Manifest.
	Program string
	Log     *slog.Logger
	Now     func() time.Time
}

// Status is how the copies stand.
type Status struct {
	Where       string    `json:"where"`
	Checkpoint  string    `json:"checkpoint,omitempty"` // the newest that is complete: "epoch/seq"
	At          time.Time `json:"at,omitzero"`          // when that was made
	Bytes       int64     `json:"bytes"`                // size of that
	Checkpoints uint64    `json:"checkpoints"`          // made since the daemon started
	Uploaded    int64     `json:"uploaded_bytes"`       // since the daemon started
	Pending     int64     `json:"pending_bytes"`        // of the copy under way, not there yet
	Failures    uint64    `json:"failures"`             // since the daemon started
	// Lacks are pipelines whose connectors keep values, and that the newest copy is
	// without.
	Lacks []string `json:"lacks,omitempty"`
	// Code, Reason and Since say what is wrong now; empty when nothing is.
	Code   string    `json:"code,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Hint   string    `json:"hint,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Replicator copies a store to a bucket. See Run.
type Replicator struct {
	c     Config
	epoch uint64 // 0 until the bucket was looked at
	seq   uint64
	wrote uint64            // the store's writes at the last complete copy
	begun bool              // there was a complete copy
	have  map[string]bool   // files of this epoch in the bucket, by sum
	sums  map[string]string // of files that never change, by name
	end   time.Duration     // endTimeout
	soon  chan struct{}

	mu     sync.Mutex
	status Status
}

// New returns a Replicator. It starts nothing.
func New(c Config) *Replicator {
	if c.Every == 0 {
		c.Every = EveryDefault
	}
	if c.Keep == 0 {
		c.Keep = KeepDefault
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Replicator{c: c, have: map[string]bool{}, sums: map[string]string{}, end: endTimeout, soon: make(chan struct{}, 1), status: Status{Where: c.Bucket.Where()}}
}

// Status returns how the copies stand.
func (r *Replicator) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Soon asks for a copy now rather than at the next time, from any goroutine:
// something was done that a copy from before it can't be brought up to.
func (r *Replicator) Soon() {
	select {
	case r.soon <- struct{}{}:
	default: // it is asked for already
	}
}

// Run copies the store until ctx ends, and then once more, within ten seconds.
// A bucket that fails is tried again, less and less often; it is no error of Run.
func (r *Replicator) Run(ctx context.Context) {
	wait, failed := r.c.Every, retryMin
	if !r.begun {
		wait = 0
	}
	next := time.Now().Add(wait)
	for {
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.end)
			defer cancel()
			r.once(end)
			return
		case <-r.soon:
			t.Stop()
			if at := time.Now().Add(soonAfter); at.Before(next) {
				next = at
			}
			continue
		case <-t.C:
		}
		if ctx.Err() == nil && r.once(ctx) {
			next, failed = time.Now().Add(r.c.Every), retryMin
			continue
		}
		next, failed = time.Now().Add(failed), min(2*failed, max(retryMax, r.c.Every))
	}
}

// once makes a copy if there is something new, and reports whether all is well.
func (r *Replicator) once(ctx context.Context) bool {
	if r.fenced() {
		return true // for a person: trying again would not help
	}
	writes := r.c.Store.Writes()
	if r.begun && writes == r.wrote {
		return true
	}
	m, err := r.checkpoint(ctx)
	if err == nil {
		r.begun, r.wrote = true, writes
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		r.note(nil, fault.New(fault.Retryable, CodeUnreachable, r.c.Bucket.Where(), "the copy before it is complete and stays",
			"the daemon ended before the copy was there"))
		return false
	}
	r.note(m, err)
	return err == nil
}

func (r *Replicator) fenced() bool { return r.Status().Code == CodeFenced }

// incomplete says what the newest copy is without. It is no failure: a pipeline that
// begins comes by here too. Called with mu held.
func (r *Replicator) incomplete(lacks []string) {
	s := &r.status
	f := fault.New(fault.Environment, CodeIncomplete, s.Where,
		"where a pipeline begins, its first checkpoint ends it; where its state was lost: cdcd checkpoint restore --remote, which takes it from an earlier copy",
		"the copies are without what connectors keep of %s: the state has no checkpoint of it", strings.Join(lacks, ", "))
	if s.Code != f.Code || !slices.Equal(s.Lacks, lacks) {
		s.Since = r.c.Now()
		r.c.Log.Warn("the copies of the state lack a pipeline; earlier ones that have it stay", "where", s.Where, "pipelines", lacks, "hint", f.Hint)
	}
	s.Lacks, s.Code, s.Reason, s.Hint = lacks, f.Code, f.Error(), f.Hint
}

// note keeps what became of a copy, and says it in the log where it changes.
func (r *Replicator) note(m *Manifest, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	s.Pending = 0
	before := s.Code
	if err == nil {
		s.Checkpoint, s.At, s.Bytes = m.ID(), m.Created, m.Bytes()
		s.Checkpoints++
		if len(m.Lacks) > 0 {
			r.incomplete(m.Lacks)
			return
		}
		s.Lacks, s.Code, s.Reason, s.Hint, s.Since = nil, "", "", "", time.Time{}
		if before != "" {
			r.c.Log.Info("copies of the state are made again", "where", s.Where, "checkpoint", s.Checkpoint)
		}
		return
	}
	f := fault.Of(err)
	s.Failures++
	if s.Code != f.Code {
		s.Since = r.c.Now()
		r.c.Log.Warn("the state is not copied; the pipelines and the local state go on", "where", s.Where, "error", err, "hint", f.Hint)
	}
	s.Code, s.Reason, s.Hint = f.Code, f.Error(), f.Hint
}

// checkpoint copies the store and brings the copy to the bucket.
func (r *Replicator) checkpoint(ctx context.Context) (m *Manifest, err error) {
	if err := r.claim(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Join(r.c.Store.Dir(), scratch)
	if err := os.RemoveAll(dir); err != nil { // of a daemon that was killed
		return nil, local(dir, err)
	}
	lacks, err := r.c.Store.Lacks(r.c.Needs) // before the copy, which has no less
	if err != nil {
		return nil, err
	}
	created := r.c.Now()
	if err := r.c.Store.Copy(dir); err != nil {
		return nil, err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); rerr != nil && err == nil {
			err = local(dir, rerr)
		}
	}()
	r.seq++ // also for a copy that fails: what its manifest's write left is not known
	m = &Manifest{Version: manifestVersion, Epoch: r.epoch, Seq: r.seq, Created: created.UTC(), Program: r.c.Program, Keeps: []string{}, Lacks: lacks}
	for _, name := range r.c.Needs {
		if !slices.Contains(lacks, name) {
			m.Keeps = append(m.Keeps, name)
		}
	}
	if m.Files, err = r.files(dir); err != nil {
		return nil, err
	}
	if err := r.upload(ctx, dir, m.Files); err != nil {
		return nil, err
	}
	return m, r.publish(ctx, m)
}

func local(path string, err error) error {
	return fault.New(fault.Retryable, state.CodeWriteFailed, path, "look at the disk of state.dir", "copy the state: %w", err)
}

// claim takes an epoch higher than all that the bucket has.
func (r *Replicator) claim(ctx context.Context) error {
	if r.epoch != 0 {
		return nil
	}
	l, err := list(ctx, r.c.Bucket)
	if err != nil {
		return err
	}
	r.epoch = l.highest() + 1
	return nil
}

// files lists the copy's files with their sums.
func (r *Replicator) files(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, local(dir, err)
	}
	known := map[string]string{}
	var files []File
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, local(dir, err)
		}
		sum := r.sums[e.Name()]
		if sum == "" {
			if sum, err = sumFile(filepath.Join(dir, e.Name())); err != nil {
				return nil, local(dir, err)
			}
		}
		if strings.HasSuffix(e.Name(), ".sst") { // numbers are not used twice
			known[e.Name()] = sum
		}
		files = append(files, File{e.Name(), info.Size(), sum})
	}
	r.sums = known
	return files, nil
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// upload brings the files that the bucket lacks, one after the other: what it
// holds in memory does not depend on the copy's size.
func (r *Replicator) upload(ctx context.Context, dir string, files []File) error {
	var missing []File
	pending := int64(0)
	for _, f := range files {
		if !r.have[f.SHA256] {
			missing = append(missing, f)
			pending += f.Size
		}
	}
	r.progress(pending, 0)
	for _, f := range missing {
		body, err := os.Open(filepath.Join(dir, f.Name))
		if err != nil {
			return local(dir, err)
		}
		err = r.c.Bucket.Put(ctx, fileKey(r.epoch, f.SHA256), body, f.Size, false)
		_ = body.Close() // it was only read
		if err != nil {
			return err
		}
		r.have[f.SHA256] = true
		pending -= f.Size
		r.progress(pending, f.Size)
	}
	return nil
}

func (r *Replicator) progress(pending, uploaded int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Pending = pending
	r.status.Uploaded += uploaded
}

// publish writes the manifest, which makes the checkpoint one, and lets go of
// those that are not kept.
func (r *Replicator) publish(ctx context.Context, m *Manifest) error {
	l, err := list(ctx, r.c.Bucket)
	if err != nil {
		return err
	}
	if l.highest() > r.epoch {
		return r.fencedFault(l.highest())
	}
	for _, f := range m.Files { // a lifecycle rule, or a person, may have deleted some
		if key := fileKey(r.epoch, f.SHA256); !l.files[key] {
			delete(r.have, f.SHA256)
			return failure(CodeMissing, r.c.Bucket.Where(), "look for "+key, errors.New("it was written and is not there any more"))
		}
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	at := id{m.Epoch, m.Seq}
	err = r.c.Bucket.Put(ctx, at.key(), strings.NewReader(string(text)), int64(len(text)), true)
	if fault.HasCode(err, CodeTaken) { // by us, where the answer to the write was lost
		if there, rerr := readManifest(ctx, r.c.Bucket, at); rerr != nil && fault.Of(rerr).Class == fault.Retryable {
			return rerr
		} else if rerr != nil || !reflect.DeepEqual(there, m) {
			return r.fencedFault(r.epoch)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	return r.prune(ctx, l, m)
}

func (r *Replicator) fencedFault(epoch uint64) error {
	return fault.New(fault.Environment, CodeFenced, r.c.Bucket.Where(),
		"give each cdcd a place of its own in state.replicate, then start this one again",
		"another cdcd replicates to the same place, with epoch %d; this one has %d", epoch, r.epoch)
}

// prune deletes what no kept checkpoint needs: first manifests, then files, so
// that what is left at any time is whole. m is new, and not in the listing.
func (r *Replicator) prune(ctx context.Context, l *listing, m *Manifest) error {
	needed := map[string]bool{}
	need := func(m *Manifest) {
		for _, f := range m.Files {
			needed[fileKey(m.Epoch, f.SHA256)] = true
		}
	}
	need(m)
	kept, spared := 1, map[string]int{}
	for _, i := range l.manifests {
		if kept >= r.c.Keep && len(m.Lacks) == 0 {
			if err := r.c.Bucket.Delete(ctx, i.key()); err != nil {
				return err
			}
			continue
		}
		old, err := readManifest(ctx, r.c.Bucket, i)
		if err = damaged(err); err != nil && !errors.Is(err, errDamaged) {
			return err
		}
		switch {
		case err == nil && (kept < r.c.Keep || r.spares(old, m.Lacks, spared)):
			need(old)
			kept++
			for _, name := range m.Lacks {
				if old.keepsAny([]string{name}) {
					spared[name]++
				}
			}
		case err != nil && kept < r.c.Keep: // it stays, to be looked at, until there are enough newer ones
		default:
			if err := r.c.Bucket.Delete(ctx, i.key()); err != nil {
				return err
			}
		}
	}
	return r.pruneFiles(ctx, l, needed)
}

// spares reports whether a copy stays for a pipeline that the newest lacks: there
// are fewer than Keep newer ones that have it.
func (r *Replicator) spares(old *Manifest, lacks []string, spared map[string]int) bool {
	return old.keepsAny(slices.DeleteFunc(slices.Clone(lacks), func(name string) bool { return spared[name] >= r.c.Keep }))
}

func (r *Replicator) pruneFiles(ctx context.Context, l *listing, needed map[string]bool) error {
	for key := range maps.Keys(l.files) {
		if needed[key] {
			continue
		}
		if err := r.c.Bucket.Delete(ctx, key); err != nil {
			return err
		}
		if i, sum, _ := parseKey(key); i.epoch == r.epoch {
			delete(r.have, sum)
		}
	}
	return nil
}
