package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/sdk"
)

// Claim implements lines.Target. The journal says where to resume, also where a
// checkpoint says otherwise; what lies behind it in the file is cut off.
func (t *target) Claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	if err := t.Close(); err != nil {
		return sink.Anchor{}, t.explain(err)
	}
	a, err := t.claim(ctx, hint, initial)
	if err != nil {
		return sink.Anchor{}, errors.Join(t.explain(err), t.Close())
	}
	return a, nil
}

func (t *target) claim(ctx context.Context, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (a sink.Anchor, err error) {
	if t.journal, err = t.disk.Open(t.journalPath(), os.O_CREATE|os.O_RDWR); err != nil {
		return a, err
	}
	if err := t.disk.Lock(t.journal); err != nil {
		return a, err
	}
	have, unreadable := readJournal(t.journal)
	if have != nil {
		t.rec = *have
		a, err = t.known(hint)
	} else {
		a, err = t.fresh(ctx, unreadable, hint, initial)
	}
	if err != nil {
		return a, err
	}
	if err := t.openFile(); err != nil {
		return a, err
	}
	return a, t.mark(&a, hint)
}

// fresh begins files where there are none.
func (t *target) fresh(ctx context.Context, unreadable error, hint sink.Hint, initial func(context.Context) (sdk.Position, error)) (sink.Anchor, error) {
	var have int64
	switch info, err := t.disk.Stat(t.cfg.Path); {
	case err == nil:
		have = info.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return sink.Anchor{}, err
	}
	closed, err := t.closedFiles()
	if err != nil {
		return sink.Anchor{}, err
	}
	switch {
	case unreadable != nil && (have > 0 || len(closed) > 0 || hint.Token != ""):
		return sink.Anchor{}, fault.New(fault.Environment, CodeJournal, t.journalPath(),
			"restore it from a backup of this folder; or "+anew, "no record in it is whole: %w", unreadable)
	case hint.Token != "":
		return sink.Anchor{}, fault.New(fault.Environment, CodeRemoved, t.journalPath(),
			"put the journal back where it was, with its files; or "+anew, "rows were delivered to files, and their journal is gone")
	case have > 0, len(closed) > 0:
		return sink.Anchor{}, fault.New(fault.Environment, CodeUnknown, t.cfg.Path,
			"move the files away, or name another one", "there are %d bytes in it and %d closed files beside it, and no journal speaks of them", have, len(closed))
	}
	base := hint.Position
	if base == "" { // otherwise nothing was confirmed since the first claim
		if base, err = initial(ctx); err != nil {
			return sink.Anchor{}, err
		}
	}
	t.rec = record{Pipeline: t.env.Pipeline, Created: t.env.Now().UnixNano(), File: 1, First: 1, Base: string(base)}
	return sink.Anchor{Base: base}, nil
}

// known resumes behind the journal's record; a checkpoint that names the same
// group knows a later position.
func (t *target) known(hint sink.Hint) (sink.Anchor, error) {
	if t.rec.Pipeline != t.env.Pipeline {
		return sink.Anchor{}, fault.New(fault.Environment, CodeUnknown, t.cfg.Path,
			"move the files away, or name another one", "they belong to the pipeline %q", t.rec.Pipeline)
	}
	at, err := t.rec.at()
	if err != nil {
		return sink.Anchor{}, err
	}
	a := sink.Anchor{Base: sdk.Position(t.rec.Base), At: at, Complete: t.rec.Complete, Found: true, Writer: t.rec.Epoch,
		Fingerprint: t.rec.Fingerprint, Messages: t.rec.Messages, Replays: t.rec.Replays}
	if hint.Token == "" {
		return a, nil
	}
	named, err := parseToken(hint.Token)
	if err != nil {
		return a, fault.New(fault.Fatal, "bad_token", t.cfg.Path, "restore the checkpoint, or "+anew, "%w", err)
	}
	switch {
	case named.created != t.rec.Created:
		return a, fault.New(fault.Environment, CodeChanged, t.journalPath(),
			"restore the files that were; or, where their rows may be delivered again, "+anew, "these are not the files that the checkpoint is of")
	case hint.Exact && hint.Token == t.rec.token():
		a.Base, a.At, a.Complete = hint.Position, sink.Place{}, false
	case hint.Messages > t.rec.Messages:
		a.Lost = hint.Messages - t.rec.Messages
	}
	return a, nil
}

// openFile opens the file as the journal says it is, and cuts off what was
// written behind that.
func (t *target) openFile() error {
	if err := t.settle(); err != nil {
		return err
	}
	info, err := t.disk.Stat(t.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if t.rec.Length > 0 {
			return fault.New(fault.Environment, CodeRemoved, t.cfg.Path,
				"put it back as it was; or "+anew+". To have files taken away, set rotate and take those that are closed",
				"the file is gone, with %d bytes that were confirmed", t.rec.Length)
		}
	} else if err != nil {
		return err
	}
	if t.f, err = t.disk.Open(t.cfg.Path, os.O_CREATE|os.O_RDWR|os.O_APPEND); err != nil {
		return err
	}
	if err := t.compare(t.cfg.Path, t.f, t.rec.Length, t.rec.Tail); err != nil {
		return err
	}
	if info != nil && info.Size() > t.rec.Length {
		t.env.Log.Info("what was written and not confirmed is cut off, and comes again", "file", t.cfg.Path, "bytes", info.Size()-t.rec.Length)
	}
	return errors.Join(t.f.Truncate(t.rec.Length), t.f.Sync(), t.disk.SyncDir(t.dir()))
}

// settle finishes the closing of a file in which a crash came: it has its new
// name, or gets it now. Of the next file nothing is confirmed yet, and nothing
// was written.
func (t *target) settle() error {
	c := t.rec.Closing
	if c == nil {
		return nil
	}
	info, err := t.disk.Stat(t.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	f, err := t.disk.Open(t.cfg.Path, os.O_RDWR)
	if err != nil {
		return err
	}
	err = t.compare(t.cfg.Path, f, c.Length, c.Tail)
	if err == nil {
		err = errors.Join(f.Truncate(c.Length), f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.rename(c.Name)
}

// compare looks whether a file still is what was confirmed of it.
func (t *target) compare(name string, f handle, length int64, end tail) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < length {
		return t.shorter(name, info.Size(), length)
	}
	sum, err := checksum(io.NewSectionReader(f, end.From, length-end.From))
	if err != nil {
		return err
	}
	if sum != end.Sum {
		return fault.New(fault.Environment, CodeChanged, name, "restore the file as it was; or "+anew,
			"bytes %d to %d are not those that were written: somebody has edited or replaced the file", end.From, length)
	}
	return nil
}

func (t *target) shorter(name string, have, want int64) error {
	return fault.New(fault.Environment, CodeTruncated, name, "restore the file as it was; or "+anew+". No other program may rotate it: set rotate",
		"the file has %d bytes, %d were confirmed", have, want)
}

// mark records the claim.
func (t *target) mark(a *sink.Anchor, hint sink.Hint) error {
	a.Epoch = max(t.rec.Epoch+1, uint64(t.env.Now().UnixMilli()))
	if hint.Claiming != nil {
		if err := hint.Claiming(a.Epoch); err != nil {
			return err
		}
	}
	t.next = t.rec
	t.next.Epoch, t.next.Base, t.next.Complete, t.next.Closing = a.Epoch, string(a.Base), a.Complete, nil
	t.next.setAt(a.At)
	if a.At.Tx == "" || a.Complete { // a transaction is finished with what it was begun with
		t.next.Fingerprint = t.env.Fingerprint
	}
	t.sum, t.dirty = 0, false
	return t.commit()
}

func (t *target) journalPath() string { return t.cfg.Path + ".journal" }
func (t *target) dir() string         { return filepath.Dir(t.cfg.Path) }
