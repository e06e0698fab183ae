package state

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cdcd-io/cdcd/sdk"
)

// record is what takes back the changes of one batch.
type record struct {
	time    time.Time
	exact   bool // the batch ended at an exact position, and all of its changes are here
	end     sdk.Position
	entries []entry
	bytes   int64 // encoded, with the bodies that go with it
}

// entry is what takes back one change.
type entry struct {
	step  string
	key   []byte
	at    Origin
	had   bool   // there was a value before
	prior []byte // that value
	grown int64  // by how much the change made what the step keeps grow
}

// size is that of the entry's key and a value, if there is one.
func (e *entry) size(there bool, value []byte) int64 {
	if !there {
		return 0
	}
	return int64(len(e.key) + len(value))
}

// keep leaves the entries, which come in reverse, in the record: those of the
// batch up to the cut.
func (r *record) keep(reversed []entry, cut *Cut) {
	slices.Reverse(reversed)
	r.entries, r.exact = reversed, cut.Exact
	if cut.Exact {
		r.end = cut.Base
	}
}

// texts gives each text that is used often a number.
type texts struct {
	list []string
	at   map[string]uint64
}

func (t *texts) number(s string) uint64 {
	n, ok := t.at[s]
	if !ok {
		n = uint64(len(t.list))
		t.list = append(t.list, s)
		t.at[s] = n
	}
	return n
}

// encode: version | time µs | exact | position | number of texts | each | then
// for each entry: step, transaction (numbers of texts), row, messages, key, had,
// prior, grown (signed).
func (r *record) encode() []byte {
	t := texts{at: map[string]uint64{}}
	var body []byte
	for i := range r.entries {
		e := &r.entries[i]
		for _, v := range []uint64{t.number(e.step), t.number(e.at.Tx), e.at.Row, e.at.Messages} {
			body = binary.AppendUvarint(body, v)
		}
		body = appendBytes(body, e.key)
		body = append(body, flag(e.had))
		body = appendBytes(body, e.prior)
		body = binary.AppendVarint(body, e.grown)
	}
	b := binary.AppendUvarint([]byte{valueVersion}, uint64(r.time.UnixMicro()))
	b = append(b, flag(r.exact))
	b = appendBytes(b, string(r.end))
	b = binary.AppendUvarint(b, uint64(len(t.list)))
	for _, s := range t.list {
		b = appendBytes(b, s)
	}
	return append(b, body...)
}

// measured encodes the record, and notes its size.
func (r *record) measured() ([]byte, error) {
	encoded := r.encode()
	bodies, err := r.owned()
	r.bytes = int64(len(encoded)) + sizeOf(bodies)
	return encoded, err
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// recordTime reads the time alone.
func recordTime(p []byte) (time.Time, error) {
	if len(p) == 0 || p[0] != valueVersion {
		return time.Time{}, errValue
	}
	f := fields{p: p[1:]}
	at := time.UnixMicro(int64(f.uint()))
	if f.bad {
		return at, errValue
	}
	return at, nil
}

// decodeRecord returns a record of views of p.
func decodeRecord(p []byte) (*record, error) {
	at, err := recordTime(p)
	if err != nil {
		return nil, err
	}
	r := &record{time: at, bytes: int64(len(p))}
	f := fields{p: p[1:]}
	f.uint() // the time
	r.exact = f.byte() == 1
	r.end = sdk.Position(f.bytes())
	n := f.uint()
	if n > uint64(len(f.p)) {
		return nil, errValue
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, string(f.bytes()))
	}
	text := func() string {
		i := f.uint()
		if i >= uint64(len(list)) {
			f.bad = true
			return ""
		}
		return list[i]
	}
	for len(f.p) > 0 && !f.bad {
		e := entry{step: text()}
		e.at = Origin{Tx: text(), Row: f.uint(), Messages: f.uint()}
		e.at.Replay, _, _ = ParseReplayTx(e.at.Tx)
		e.key, e.had, e.prior, e.grown = f.bytes(), f.byte() == 1, f.bytes(), f.int()
		r.entries = append(r.entries, e)
	}
	if f.bad {
		return nil, errValue
	}
	bodies, err := r.owned()
	r.bytes += sizeOf(bodies)
	return r, err
}
