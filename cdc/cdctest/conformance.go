package cdctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// errEnough ends a Read from within emit.
var errEnough = errors.New("read enough")

// readMax bounds the reading of a whole log, on a busy machine.
const readMax = 4 * time.Minute

// Recorded is a batch, copied before it was released: what a consumer would see
// of it, as text.
type Recorded struct {
	Begin, End sdk.Position
	Rows       []RecordedRow
	Bytes      int // of the batch
}

// RecordedRow is one row of a batch.
type RecordedRow struct {
	Tx         string // transaction id
	Ordinal    uint64
	Begins     bool // the batch holds the transaction's first row
	Ends       bool // and its last
	RowsBefore uint64
	RowsTotal  uint64
	Text       string // operation, table and values
}

// Record copies a batch.
func Record(b *cdc.Batch) Recorded {
	r := Recorded{Begin: b.Begin, End: b.End, Bytes: b.Size()}
	for i := range b.Rows() {
		row := b.Row(i)
		tx := row.Tx()
		r.Rows = append(r.Rows, RecordedRow{Tx: string(tx.ID()), Ordinal: row.Ordinal(), Begins: tx.Begins(),
			Ends: tx.Ends(), RowsBefore: tx.RowsBefore(), RowsTotal: tx.RowsTotal(), Text: RowText(row)})
	}
	return r
}

// RowText prints a row: "c shop.orders (id=1 note="x")", with the image before
// in brackets and the one after in parentheses.
func RowText(row sdk.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%c %s", row.Op().Letter(), row.Schema().FullName())
	for _, m := range []struct {
		image       sdk.Image
		open, close string
	}{{row.Before(), " [", "]"}, {row.After(), " (", ")"}} {
		if !m.image.Valid() {
			continue
		}
		b.WriteString(m.open)
		for c, column := range row.Schema().Columns {
			if c > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(column.Name + "=")
			switch {
			case m.image.IsAbsent(c):
				b.WriteString("absent")
			case m.image.IsNull(c):
				b.WriteString("NULL")
			case column.Type == sdk.TypeUint:
				fmt.Fprint(&b, m.image.Uint(c))
			case column.Type.Inline():
				fmt.Fprint(&b, m.image.Int(c))
			default:
				fmt.Fprintf(&b, "%.200q", m.image.Bytes(c))
			}
		}
		b.WriteString(m.close)
	}
	return b.String()
}

// Read runs the source until a batch satisfies enough, the log ends, or readMax
// has passed, and returns what it emitted. Where the start satisfies enough, the
// source is not run: at the head of a log there may be nothing to emit. The error
// is Run's, nil after enough and io.EOF at the end of files.
func Read(t testing.TB, src cdc.Source, start cdc.Start, enough func(Recorded) bool) ([]Recorded, error) {
	t.Helper()
	if start.Tx == "" && enough(Recorded{Begin: start.Base, End: start.Base}) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), readMax)
	defer cancel()
	var got []Recorded
	err := src.Run(ctx, start, func(_ context.Context, b *cdc.Batch) error {
		defer b.Release()
		if _, err := sdk.Open(b.Bytes(), b.Schemas(), b.Large()); err != nil {
			return err
		}
		r := Record(b)
		got = append(got, r)
		if enough(r) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return got, err
}

// UntilHead is for Read: it is satisfied by the head as of now.
func UntilHead(t testing.TB, src cdc.Source) func(Recorded) bool {
	t.Helper()
	head, err := src.Head(context.Background())
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	return func(r Recorded) bool {
		done, err := src.Covers(r.End, head)
		if err != nil {
			t.Errorf("covers: %v", err)
		}
		return done
	}
}

// Rows joins the rows of batches.
func Rows(batches []Recorded) (rows []RecordedRow) {
	for _, b := range batches {
		rows = append(rows, b.Rows...)
	}
	return rows
}

// resumesMax bounds how many places of a log the suite resumes at.
const resumesMax = 16

// Conform checks a source against the contract of package cdc. The log must be
// at rest, hold at least one transaction of one row, and had better hold some
// that are larger than a batch; open returns a new source over it.
func Conform(t *testing.T, open func(t testing.TB) cdc.Source) {
	s := &suite{open: open}
	src := s.source(t)
	var err error
	if s.initial, err = src.Initial(context.Background()); err != nil {
		t.Fatalf("initial: %v", err)
	}
	if err := src.Preflight(context.Background()); err != nil {
		t.Errorf("preflight: %v", err)
	}
	if s.all, err = s.read(t, cdc.Start{Base: s.initial}); err != nil {
		t.Fatalf("run: %v", err)
	}
	if len(Rows(s.all)) == 0 {
		t.Fatal("the log holds no followed rows")
	}
	t.Run("shape", s.shape)
	t.Run("resume behind every batch", s.resumeBehind)
	t.Run("resume inside every transaction", s.resumeInside)
	t.Run("a transaction that never comes", s.neverComes)
	t.Run("cancelled", s.cancelled)
	t.Run("refused by emit", s.refused)
	t.Run("status", s.status)
}

type suite struct {
	open    func(t testing.TB) cdc.Source
	initial sdk.Position
	all     []Recorded
}

func (s *suite) source(t testing.TB) cdc.Source {
	t.Helper()
	src := s.open(t)
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return src
}

func (s *suite) read(t testing.TB, start cdc.Start) ([]Recorded, error) {
	t.Helper()
	src := s.source(t)
	got, err := Read(t, src, start, UntilHead(t, src))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got, err
}

// shape: bounds, positions and ordinals.
func (s *suite) shape(t *testing.T) {
	var open string // a transaction of which parts were seen
	var next uint64
	end := s.initial
	for i, b := range s.all {
		if len(b.Rows) > cdc.BatchRowsMax {
			t.Errorf("batch %d has %d rows", i, len(b.Rows))
		}
		for k, r := range b.Rows {
			first := k == 0 || b.Rows[k-1].Tx != r.Tx
			switch {
			case first && open != "" && (r.Tx != open || r.RowsBefore != next || r.Begins):
				t.Errorf("batch %d goes on with %s after %d rows, not with %s after %d", i, r.Tx, r.RowsBefore, open, next)
			case first && open == "" && (r.RowsBefore != 0 || !r.Begins):
				t.Errorf("batch %d: %s begins with %d rows before", i, r.Tx, r.RowsBefore)
			}
			if first {
				next = r.RowsBefore
			}
			if r.Ordinal != next {
				t.Errorf("batch %d: row %d of %s has ordinal %d", i, next, r.Tx, r.Ordinal)
			}
			next++
			open = ""
			if !r.Ends {
				open = r.Tx
			} else if last := k == len(b.Rows)-1 || b.Rows[k+1].Tx != r.Tx; last && r.RowsTotal != next {
				t.Errorf("batch %d: %s has %d rows, says %d", i, r.Tx, next, r.RowsTotal)
			}
		}
		if open != "" && b.End != b.Begin {
			t.Errorf("batch %d ends inside %s, and its end is not its beginning", i, open)
		}
		if len(b.Rows) > 0 && b.Rows[0].RowsBefore > 0 && b.Begin != s.all[i-1].End {
			t.Errorf("batch %d begins at %s, the one before ended at %s", i, b.Begin, s.all[i-1].End)
		}
		end = b.End
	}
	if open != "" {
		t.Errorf("%s has no end", open)
	}
	if end == s.initial {
		t.Error("the position did not move")
	}
}

// some returns indexes spread over n.
func some(n int) (list []int) {
	for i := range min(n, resumesMax) {
		list = append(list, i*n/min(n, resumesMax))
	}
	return list
}

// resumeBehind: from every batch's end, the rest follows.
func (s *suite) resumeBehind(t *testing.T) {
	for _, i := range some(len(s.all)) {
		if Rows(s.all[i:i+1]) == nil || !s.all[i].Rows[len(s.all[i].Rows)-1].Ends {
			continue
		}
		rest := Rows(s.all[i+1:])
		if len(rest) == 0 {
			continue
		}
		got, err := s.read(t, cdc.Start{Base: s.all[i].End})
		if err != nil {
			t.Fatalf("behind batch %d, from %s: %v", i, s.all[i].End, err)
		}
		diffRows(t, fmt.Sprintf("behind batch %d, from %s", i, s.all[i].End), rest, Rows(got))
	}
}

// resumeInside: with the transaction at which delivery stopped, everything from
// its first row on follows, parts and all, from its own beginning and from the
// log's.
func (s *suite) resumeInside(t *testing.T) {
	for _, i := range some(len(s.all)) {
		if len(s.all[i].Rows) == 0 {
			continue
		}
		last := s.all[i].Rows[len(s.all[i].Rows)-1]
		all := Rows(s.all)
		from := slices.IndexFunc(all, func(r RecordedRow) bool { return r.Tx == last.Tx })
		for _, base := range []sdk.Position{s.all[i].Begin, s.initial} {
			got, err := s.read(t, cdc.Start{Base: base, Tx: last.Tx})
			if err != nil {
				t.Fatalf("from %s to %s: %v", base, last.Tx, err)
			}
			diffRows(t, fmt.Sprintf("from %s to %s", base, last.Tx), all[from:], Rows(got))
		}
	}
}

func diffRows(t *testing.T, what string, want, got []RecordedRow) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s: %d rows instead of %d:\n%.4000s", what, len(got), len(want), d)
	}
}

func (s *suite) neverComes(t *testing.T) {
	rows := Rows(s.all)
	got, err := s.read(t, cdc.Start{Base: s.all[len(s.all)-1].End, Tx: rows[0].Tx})
	if !fault.HasCode(err, "source_behind") || fault.Of(err).Hint == "" {
		t.Errorf("gives %v", err)
	}
	if len(Rows(got)) != 0 {
		t.Errorf("%d rows were handed out", len(Rows(got)))
	}
}

// cancelled: Run ends soon, whether it is in emit or waits for the log. Only
// what comes behind the cancelling has to be soon.
func (s *suite) cancelled(t *testing.T) {
	why := errors.New("called off")
	for _, at := range []int{0, len(s.all) - 1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		src, n := s.source(t), 0
		done := make(chan error, 1)
		// How many batches there are, and where they end, depends on when they are
		// flushed.
		head := UntilHead(t, src)
		go func() {
			done <- src.Run(ctx, cdc.Start{Base: s.initial}, func(_ context.Context, b *cdc.Batch) error {
				defer b.Release()
				if n++; n > at || head(Recorded{End: b.End}) {
					cancel(why)
				}
				return nil
			})
		}()
		select {
		case <-ctx.Done():
		case <-time.After(readMax):
			t.Fatalf("batch %d did not come: %+v", at, src.Status())
		}
		select {
		case err := <-done:
			if !errors.Is(err, why) && !errors.Is(err, io.EOF) {
				t.Errorf("at batch %d: %v", at, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("at batch %d: Run goes on: %+v", at, src.Status())
		}
	}
}

func (s *suite) refused(t *testing.T) {
	why := errors.New("no")
	src := s.source(t)
	err := src.Run(context.Background(), cdc.Start{Base: s.initial}, func(_ context.Context, b *cdc.Batch) error {
		b.Release()
		return why
	})
	if !errors.Is(err, why) {
		t.Errorf("Run returned %v", err)
	}
}

func (s *suite) status(t *testing.T) {
	src := s.source(t)
	if st := src.Status(); st.State == cdc.StateStreaming {
		t.Errorf("before Run: %s", st.State)
	}
	got, err := Read(t, src, cdc.Start{Base: s.initial}, UntilHead(t, src))
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	st := src.Status()
	if st.State != cdc.StateStopped || st.Reason == "" || st.Since.IsZero() {
		t.Errorf("after Run: %s, %q since %v", st.State, st.Reason, st.Since)
	}
	if want := uint64(len(Rows(s.all))); st.RowsRead != want {
		t.Errorf("%d rows read, %d handed out", st.RowsRead, want)
	}
	if st.Position != got[len(got)-1].End || st.LogPos == "" || st.BytesRead == 0 || st.TxRead == 0 {
		t.Errorf("status %+v", st)
	}
}
