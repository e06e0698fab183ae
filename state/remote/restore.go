package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/state"
)

// Restored is what Restore did.
type Restored struct {
	*Manifest
	Pipelines []string // that the state knows
	Skipped   []Finding
	Moved     string // where what was in the directory is now; empty for nothing
	// Taken says of pipelines that the checkpoint lacks from which earlier one they are.
	Taken map[string]string
}

// Finding is what is known of one checkpoint of a bucket.
type Finding struct {
	Checkpoint string // "epoch/seq"
	Manifest   *Manifest
	Err        error // why it can't be restored; nil when it can
}

// errDamaged is what damage that another checkpoint may not have is wrapped in.
var errDamaged = errors.New("damaged")

// Restore brings the newest checkpoint of the bucket that is whole into dir,
// which state.MakeRoom makes room in, and marks the pipelines' checkpoints as
// restored. A damaged one is skipped; a bucket that does not answer is an error,
// because an older checkpoint is worse than a try again. Pipelines that it lacks are
// taken from the newest that has them; where only damaged ones may have them, that is
// an error too. The error is CodeEmpty,
// CodeDamaged, CodeOccupied or the bucket's.
func Restore(ctx context.Context, b Bucket, dir string) (*Restored, error) {
	l, err := list(ctx, b)
	if err != nil {
		return nil, err
	}
	if len(l.manifests) == 0 {
		return nil, fault.New(fault.Environment, CodeEmpty, b.Where(), "check the bucket and the prefix; or start without a copy",
			"there is no checkpoint")
	}
	out := &Restored{}
	if out.Moved, err = state.MakeRoom(dir, time.Now()); err != nil {
		return nil, err
	}
	for n, i := range l.manifests {
		m, err := fetch(ctx, b, i, dir)
		if err == nil {
			out.Manifest = m
			if out.Pipelines, err = state.MarkRestored(dir); err == nil {
				left, err := out.graft(ctx, b, l.manifests[n+1:], dir)
				if err == nil && len(left) > 0 {
					err = out.lost(ctx, b, left)
				}
				if err != nil {
					return nil, err
				}
				return out, fileFault(dir, state.EndRestore(dir))
			}
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		if !errors.Is(err, errDamaged) {
			return nil, err
		}
		out.Skipped = append(out.Skipped, Finding{Checkpoint: i.String(), Err: err})
	}
	all := make([]string, len(out.Skipped))
	for i, s := range out.Skipped {
		all[i] = fmt.Sprintf("%s: %v", s.Checkpoint, s.Err)
	}
	return nil, fault.New(fault.Environment, CodeDamaged, b.Where(),
		"put the objects right, from older versions where the bucket keeps them, and restore again; or, where no connector keeps values, start without a copy: positions are then taken from the streams",
		"none of %d checkpoints can be restored: %s", len(all), strings.Join(all, "; "))
}

// grafting is the folder of the state directory that an earlier checkpoint is brought
// into, for a pipeline that the newest lacks.
const grafting = "grafting"

// graft takes what the checkpoint lacks from the newest of the older ones that has it.
// One that is damaged is left out. It returns the pipelines that none has.
func (r *Restored) graft(ctx context.Context, b Bucket, older []id, dir string) (lacks []string, err error) {
	lacks = slices.Clone(r.Lacks)
	scratch := filepath.Join(dir, grafting)
	defer func() { err = errors.Join(err, fileFault(scratch, os.RemoveAll(scratch))) }()
	for _, i := range older {
		m, err := readManifest(ctx, b, i)
		if err == nil && !m.keepsAny(lacks) {
			continue
		}
		var names []string
		if err == nil {
			_, err = fetch(ctx, b, i, scratch)
		}
		if err = damaged(err); err == nil {
			if _, merr := state.MarkRestored(scratch); merr != nil {
				err = fmt.Errorf("%w: %w", errDamaged, merr)
			}
		}
		if err == nil {
			names, err = state.Graft(dir, scratch, lacks)
		}
		if errors.Is(err, errDamaged) {
			r.Skipped = append(r.Skipped, Finding{Checkpoint: i.String(), Err: err})
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if r.Taken == nil {
				r.Taken = map[string]string{}
			}
			r.Taken[name] = i.String()
			r.Pipelines = append(r.Pipelines, name)
			lacks = slices.DeleteFunc(lacks, func(n string) bool { return n == name })
		}
	}
	return lacks, nil
}

// lost returns a fault where a checkpoint that was skipped for its damage may have the
// pipelines that all others lack; otherwise they begin.
func (r *Restored) lost(ctx context.Context, b Bucket, lacks []string) error {
	for _, s := range r.Skipped {
		var i id
		if _, err := fmt.Sscanf(s.Checkpoint, "%x/%x", &i.epoch, &i.seq); err != nil {
			return err
		}
		m, err := readManifest(ctx, b, i)
		if err = damaged(err); err != nil && !errors.Is(err, errDamaged) {
			return err
		}
		if err != nil || m.keepsAny(lacks) {
			return fault.New(fault.Environment, CodeDamaged, b.Where(),
				"put its objects right, from older versions where the bucket keeps them, and restore again; or remove "+i.key()+" to go on without what it has",
				"checkpoint %s may have what connectors keep of %s, which the others lack, and is damaged: %w", i, strings.Join(lacks, ", "), s.Err)
		}
	}
	return nil
}

// fetch brings one checkpoint into dir, where nothing of another stays.
func fetch(ctx context.Context, b Bucket, i id, dir string) (*Manifest, error) {
	m, err := readManifest(ctx, b, i)
	if err != nil {
		return nil, damaged(err)
	}
	if err := state.BeginRestore(dir); err != nil {
		return nil, fileFault(dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fileFault(dir, err)
	}
	for _, e := range entries { // folders are others': the streams', compiled code
		if e.Type().IsRegular() && !state.Foreign(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fileFault(dir, err)
			}
		}
	}
	for _, f := range m.Files {
		if err := fetchFile(ctx, b, i, f, filepath.Join(dir, f.Name)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func fetchFile(ctx context.Context, b Bucket, i id, f File, path string) error {
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fileFault(path, err)
	}
	err = readFile(ctx, b, i, f, to)
	if err == nil {
		err = fileFault(path, to.Sync())
	}
	return errors.Join(err, fileFault(path, to.Close()))
}

// sumOfNothing is the sum of the many files that are empty.
const sumOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// readFile copies a file of a checkpoint to w and checks it.
func readFile(ctx context.Context, b Bucket, i id, f File, w io.Writer) error {
	if f.Size == 0 && f.SHA256 == sumOfNothing { // one object for all of them: nothing rests on it
		return nil
	}
	r, err := b.Get(ctx, fileKey(i.epoch, f.SHA256))
	if err != nil {
		return damaged(err)
	}
	sum, to := sha256.New(), &noting{w: w}
	n, err := io.Copy(io.MultiWriter(to, sum), io.LimitReader(r, f.Size+1))
	_ = r.Close() // what counts was read
	if to.err != nil {
		return fileFault(f.Name, to.err)
	}
	if err != nil {
		return damaged(fmt.Errorf("file %s: %w", f.Name, err))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != f.Size || got != f.SHA256 {
		return fmt.Errorf("file %s has other bytes than were written: %w", f.Name, errDamaged)
	}
	return nil
}

// noting remembers that it was the writing that failed: the disk's fault, not
// the checkpoint's.
type noting struct {
	w   io.Writer
	err error
}

func (s *noting) Write(p []byte) (n int, err error) {
	n, s.err = s.w.Write(p)
	return n, s.err
}

// damaged marks errors that concern one checkpoint: something is not there, or
// not what it was. That the bucket does not answer concerns all.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if ok && f.Code != CodeMissing {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

func fileFault(path string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Environment, state.CodeDirUnwritable, path, "look at the disk, and who owns the directory", "restore the state: %w", err)
}

// List returns what the bucket's manifests say, the newest first. With deep, each
// file is read and checked.
func List(ctx context.Context, b Bucket, deep bool) ([]Finding, error) {
	l, err := list(ctx, b)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, i := range l.manifests {
		found := Finding{Checkpoint: i.String()}
		found.Manifest, found.Err = readManifest(ctx, b, i)
		if found.Err == nil {
			found.Err = check(ctx, b, l, found.Manifest, deep)
		}
		if found.Err != nil {
			if found.Err = damaged(found.Err); !errors.Is(found.Err, errDamaged) {
				return all, found.Err
			}
		}
		all = append(all, found)
	}
	return all, nil
}

func check(ctx context.Context, b Bucket, l *listing, m *Manifest, deep bool) error {
	i := id{m.Epoch, m.Seq}
	for _, f := range m.Files {
		if f.SHA256 != sumOfNothing && !l.files[fileKey(i.epoch, f.SHA256)] {
			return fmt.Errorf("file %s is not there: %w", f.Name, errDamaged)
		}
		if !deep {
			continue
		}
		if err := readFile(ctx, b, i, f, io.Discard); err != nil {
			return err
		}
	}
	return nil
}
