package file

import (
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// bufBytes is how much is written to the file at a time.
const bufBytes = 256 << 10

// target is a lines.Target.
type target struct {
	cfg    Config
	env    sink.Env
	disk   disk
	closed chan struct{} // told that a file was closed

	journal handle
	f       handle
	rec     record // as it is on disk
	next    record // as it will be with what was written since
	buf     []byte // of that, what is not in the file yet
	sum     uint32 // of that, what is
	dirty   bool   // lines were written since
}

// Write implements lines.Target.
func (t *target) Write(g *sink.Group) (string, error) {
	if len(g.Messages) == 0 {
		return t.next.token(), nil
	}
	if err := t.rotateBefore(g); err != nil {
		return "", t.failed(err)
	}
	for i := range g.Messages {
		m := &g.Messages[i]
		if m.Replay > 0 {
			t.next.Replays = m.Replay
		}
		if m.Kind != sink.KindData {
			continue
		}
		if m.Replay == 0 {
			t.next.Messages++
		}
		if len(m.Body) == 0 { // a tombstone: a line has no key
			continue
		}
		if err := t.line(m.Body); err != nil {
			return "", t.failed(err)
		}
	}
	last := &g.Messages[len(g.Messages)-1]
	t.next.Group++
	t.next.Base, t.next.Fingerprint = string(g.Base), t.env.Fingerprint
	t.next.setAt(last.Place)
	t.next.Complete = last.TxLast && last.Place.Tx != ""
	return t.next.token(), nil
}

// line appends a body as a line.
func (t *target) line(body []byte) error {
	t.dirty = true
	t.next.Length += int64(len(body)) + 1
	if len(t.buf)+len(body)+1 > bufBytes {
		if err := t.writeOut(t.buf); err != nil {
			return err
		}
		t.buf = t.buf[:0]
		if len(body)+1 > bufBytes {
			if err := t.writeOut(body); err != nil {
				return err
			}
			body = nil
		}
	}
	t.buf = append(append(t.buf, body...), '\n')
	return nil
}

func (t *target) writeOut(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := t.f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	t.sum = crc32.Update(t.sum, castagnoli(), b)
	return err
}

// lengthOf returns how many bytes a group's lines have.
func lengthOf(g *sink.Group) (n int64) {
	for i := range g.Messages {
		if m := &g.Messages[i]; m.Kind == sink.KindData && len(m.Body) > 0 {
			n += int64(len(m.Body)) + 1
		}
	}
	return n
}

// Flush implements lines.Target: lines first, then the journal that speaks of
// them.
func (t *target) Flush() error {
	if t.next.Group == t.rec.Group {
		return nil
	}
	return t.failed(t.flush())
}

func (t *target) flush() error {
	if err := t.writeOut(t.buf); err != nil {
		return err
	}
	t.buf = t.buf[:0]
	if t.dirty {
		if err := t.f.Sync(); err != nil {
			return err
		}
	}
	return t.commit()
}

// commit records what was written.
func (t *target) commit() error {
	if err := t.check(); err != nil {
		return err
	}
	if t.dirty {
		t.next.Tail = tail{From: t.rec.Length, Sum: t.sum}
		if t.next.Opened == 0 {
			t.next.Opened = t.env.Now().UnixMilli()
		}
	}
	t.next.Number = t.rec.Number + 1
	if err := writeJournal(t.journal, &t.next); err != nil {
		return err
	}
	t.rec, t.sum, t.dirty = t.next, 0, false
	return nil
}

// check looks whether file and journal are still there under their names, and
// whether the file has what was written and nothing else.
func (t *target) check() error {
	own, err := t.same(t.cfg.Path, t.f)
	if err != nil {
		return err
	}
	if _, err := t.same(t.journalPath(), t.journal); err != nil {
		return err
	}
	switch have, want := own.Size(), t.next.Length; {
	case have < want:
		return t.shorter(t.cfg.Path, have, want)
	case have > want:
		return fault.New(fault.Environment, CodeChanged, t.cfg.Path,
			"let nobody else write to it, and start again: what was appended is cut off", "the file has %d bytes, %d were written", have, want)
	}
	return nil
}

func (t *target) same(name string, h handle) (fs.FileInfo, error) {
	info, err := t.disk.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Environment, CodeRemoved, name,
			"put it back as it was; or "+anew+". To have files taken away, set rotate and take those that are closed",
			"it was removed or renamed while the pipeline ran")
	}
	if err != nil {
		return nil, err
	}
	own, err := h.Stat()
	if err == nil && !t.disk.Same(info, own) {
		err = fault.New(fault.Environment, CodeChanged, name, "restore the file that was; or "+anew, "another file has taken its name while the pipeline ran")
	}
	return own, err
}

// rotateBefore closes the file if the group would make it too large, or it is
// old enough. A group is not divided: one that is larger has a file to itself.
func (t *target) rotateBefore(g *sink.Group) error {
	most := int64(t.cfg.Rotate.Bytes)
	if t.next.Length == 0 || !t.old() && (most == 0 || t.next.Length+lengthOf(g) <= most) {
		return nil
	}
	if t.next.Group != t.rec.Group {
		if err := t.flush(); err != nil {
			return err
		}
	}
	return t.rotate()
}

// old reports whether the file has had its first line for long enough.
func (t *target) old() bool {
	age := t.cfg.Rotate.Age.Std()
	return age > 0 && t.rec.Opened > 0 && t.env.Now().Sub(time.UnixMilli(t.rec.Opened)) >= age
}

// rotateOld closes a file that is old enough while nothing is written.
func (t *target) rotateOld() error {
	if t.f == nil || t.rec.Length == 0 || t.next.Group != t.rec.Group || !t.old() {
		return nil
	}
	return t.failed(t.rotate())
}

// rotate gives the file its closed name and begins the next. The journal says
// so first, so that a crash in between is finished by the next claim; and says
// that it is done before anything is written to the next.
func (t *target) rotate() error {
	if err := t.check(); err != nil {
		return err
	}
	name := t.closedName(t.rec.File, t.rec.First)
	t.next.Closing = &closing{Name: name, Length: t.rec.Length, Tail: t.rec.Tail}
	t.next.File, t.next.First = t.rec.File+1, t.rec.Messages+1
	t.next.Length, t.next.Opened, t.next.Tail = 0, 0, tail{}
	t.next.Number = t.rec.Number + 1
	if err := writeJournal(t.journal, &t.next); err != nil {
		return err
	}
	t.rec = t.next
	if err := errors.Join(t.rename(name), t.f.Close()); err != nil {
		t.f = nil
		return err
	}
	f, err := t.disk.Open(t.cfg.Path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND)
	if t.f = f; err != nil {
		t.f = nil
		return err
	}
	if err := t.disk.SyncDir(t.dir()); err != nil {
		return err
	}
	t.next.Closing = nil
	if err := t.commit(); err != nil {
		return err
	}
	select {
	case t.closed <- struct{}{}:
	default:
	}
	return nil
}

// rename gives the file its closed name, which no other file has.
func (t *target) rename(name string) error {
	to := t.beside(name)
	if _, err := t.disk.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return err
		}
		return fault.New(fault.Environment, CodeUnknown, to, "move it away", "a file that is closed is to have this name, and another file has it")
	}
	return t.disk.Rename(t.cfg.Path, to) // whoever opens the next file syncs the folder
}

// failed takes back what no record speaks of, so that readers see no half line
// while the sink can't go on; the next claim does the same.
func (t *target) failed(err error) error {
	if err == nil {
		return nil
	}
	if t.f != nil && t.rec.Closing == nil {
		if info, serr := t.f.Stat(); serr == nil && info.Size() > t.rec.Length {
			_ = t.f.Truncate(t.rec.Length) // the next claim does, and says if it can't
		}
	}
	return t.explain(err)
}

func (t *target) explain(err error) error { return explain(t.cfg.Path, err) }

// Close implements lines.Target. What no record speaks of is not confirmed, and
// the next claim cuts it off.
func (t *target) Close() error {
	var errs []error
	for _, h := range []handle{t.f, t.journal} { // the lock last
		if h != nil {
			errs = append(errs, h.Close())
		}
	}
	t.f, t.journal, t.buf = nil, nil, t.buf[:0]
	return errors.Join(errs...)
}

func checksum(r io.Reader) (uint32, error) {
	h := crc32.New(castagnoli())
	_, err := io.Copy(h, r)
	return h.Sum32(), err
}
