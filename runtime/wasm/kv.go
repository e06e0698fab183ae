package wasm

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Limits of a batch's use of kv. Who passes them is stopped: they are of the
// batch, and no one row is to blame.
const (
	kvOpsMax   = 10_000
	kvBytesMax = 4 << 20

	// KVBytesDefault bounds what a step keeps.
	KVBytesDefault = 1 << 30
)

const codeKVLimit = "kv_limit"

// KV is the durable half of a step's kv: what the batches before this one left.
// Its methods are called during guest calls.
type KV interface {
	// Get returns a value; ok is false without one. The slice is good until the
	// next call.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan calls f for the keys that begin with prefix and sort behind after, in
	// order, until f returns false. The slices are good during the call.
	Scan(prefix, after []byte, f func(key, value []byte) bool) error
	// Bytes returns the size of all keys and values.
	Bytes() int64
}

// Write is a change that a connector made to its kv for a row. The slices are
// good as long as the Result that they came with.
type Write struct {
	Row        int // in the input batch
	Key, Value []byte
	Gone       bool // deleted
}

// overlay is what a batch has changed so far. Reads see it over the store.
type overlay struct {
	path   string
	store  KV
	quota  int64
	rows   []int32 // of the part of a batch that is in hand, their numbers in the whole; nil for the whole
	writes []overlaid
	latest map[string]int32 // by key, its last write
	slab   slab
	ops    int
	bytes  int   // written
	grown  int64 // what the store will grow by
}

// overlaid is a write with what takes it back.
type overlaid struct {
	Write
	part   int   // the row's number in the part in hand
	before int32 // the write before it to the same key; -1 for none
	had    int   // size of the key's entry before; 0 for none
	from   place // where the slab stood
}

func newOverlay(path string, store KV, quota int64) *overlay {
	if store == nil {
		return nil
	}
	if quota == 0 {
		quota = KVBytesDefault
	}
	return &overlay{path: path, store: store, quota: quota, latest: map[string]int32{}}
}

// reset begins a batch.
func (o *overlay) reset() {
	if o == nil {
		return
	}
	o.writes, o.rows, o.ops, o.bytes, o.grown = o.writes[:0], nil, 0, 0, 0
	clear(o.latest)
	o.slab.reset()
}

// mark is a place that an overlay can be taken back to.
type mark struct{ writes, ops int }

func (o *overlay) mark() mark {
	if o == nil {
		return mark{}
	}
	return mark{len(o.writes), o.ops}
}

// takeBack forgets what was written behind the mark.
func (o *overlay) takeBack(m mark) {
	if o == nil {
		return
	}
	o.cut(m.writes)
	o.ops = m.ops
}

// keepRows forgets what was written behind the mark for rows from end on.
func (o *overlay) keepRows(m mark, end int) {
	if o == nil {
		return
	}
	n := len(o.writes)
	for n > m.writes && o.writes[n-1].part >= end {
		n--
	}
	o.cut(n)
}

// cut keeps n writes.
func (o *overlay) cut(n int) {
	for k := len(o.writes) - 1; k >= n; k-- {
		w := &o.writes[k]
		o.bytes -= len(w.Key) + len(w.Value)
		o.grown -= int64(w.size() - w.had)
		delete(o.latest, unsafeText(w.Key)) // the map's own key may lie in what the slab gives up
		if w.before >= 0 {
			o.latest[unsafeText(o.writes[w.before].Key)] = w.before
		}
		o.slab.goBack(w.from)
	}
	o.writes = o.writes[:n]
}

// size is that of the key's entry behind the write.
func (w *overlaid) size() int {
	if w.Gone {
		return 0
	}
	return len(w.Key) + len(w.Value)
}

// get returns a value as the batch sees it.
func (o *overlay) get(key []byte) (value []byte, ok bool, err error) {
	if k, written := o.latest[string(key)]; written {
		w := &o.writes[k]
		return w.Value, !w.Gone, nil
	}
	return o.store.Get(key)
}

// write adds a change. The error is a fault.
func (o *overlay) write(row int, key, value []byte, gone bool) error {
	had, before := 0, int32(-1)
	if k, written := o.latest[string(key)]; written {
		had, before = o.writes[k].size(), k
	} else {
		v, ok, err := o.store.Get(key)
		if err != nil {
			return err
		}
		if ok {
			had = len(key) + len(v)
		}
	}
	whole := row
	if o.rows != nil {
		whole = int(o.rows[row])
	}
	from := o.slab.place()
	w := overlaid{Write{whole, o.slab.keep(key), o.slab.keep(value), gone}, row, before, had, from}
	o.bytes += len(key) + len(value)
	o.grown += int64(w.size() - had)
	if o.bytes > kvBytesMax {
		return o.tooMuch("writes more than 4 MiB to its kv for one batch")
	}
	if o.grown > 0 && o.store.Bytes()+o.grown > o.quota {
		return fault.New(fault.Fatal, "kv_quota", o.path, "raise limits.kv of the step, or have the connector delete what it no longer needs",
			"the connector keeps %d bytes in its kv, and may keep %d", o.store.Bytes(), o.quota)
	}
	delete(o.latest, unsafeText(key))
	o.latest[unsafeText(w.Key)] = int32(len(o.writes))
	o.writes = append(o.writes, w)
	return nil
}

// count takes note of operations.
func (o *overlay) count(n int) error {
	if o.ops += n; o.ops > kvOpsMax {
		return o.tooMuch("does more than 10000 operations on its kv for one batch")
	}
	return nil
}

func (o *overlay) tooMuch(what string) error {
	return fault.New(fault.Fatal, codeKVLimit, o.path, "have the connector read and write less per row", "the connector %s", what)
}

// scan calls f for the keys with the prefix behind after, as the batch sees them.
func (o *overlay) scan(prefix, after []byte, f func(key, value []byte) bool) error {
	var mine []string
	for key := range o.latest {
		if strings.HasPrefix(key, unsafeText(prefix)) && key > unsafeText(after) {
			mine = append(mine, key)
		}
	}
	slices.Sort(mine)
	more := true
	next := func() { // gives the first of mine
		w := &o.writes[o.latest[mine[0]]]
		mine = mine[1:]
		if !w.Gone {
			more = f(w.Key, w.Value)
		}
	}
	err := o.store.Scan(prefix, after, func(key, value []byte) bool {
		for more && len(mine) > 0 && mine[0] < unsafeText(key) {
			next()
		}
		switch {
		case !more:
		case len(mine) > 0 && mine[0] == unsafeText(key):
			next()
		default:
			more = f(key, value)
		}
		return more
	})
	for err == nil && more && len(mine) > 0 {
		next()
	}
	return err
}

// appendTo appends the batch's writes.
func (o *overlay) appendTo(list []Write) []Write {
	if o == nil {
		return list
	}
	for k := range o.writes {
		list = append(list, o.writes[k].Write)
	}
	return list
}

// slab keeps copies of short-lived bytes, and its memory for the next batch.
type slab struct {
	chunks [][]byte
	at     int // the one that is being filled; those behind it are empty
}

const slabChunk = 64 << 10

func (s *slab) reset() { s.goBack(place{}) }

// place is where a slab stands.
type place struct{ at, length int }

func (s *slab) place() place {
	if s.at == len(s.chunks) {
		return place{s.at, 0}
	}
	return place{s.at, len(s.chunks[s.at])}
}

// goBack gives up what was kept since the place.
func (s *slab) goBack(p place) {
	for k := p.at; k < len(s.chunks); k++ {
		s.chunks[k] = s.chunks[k][:0]
		if k == p.at {
			s.chunks[k] = s.chunks[k][:p.length]
		}
	}
	s.at = p.at
}

// keep returns a copy of p that holds until reset.
func (s *slab) keep(p []byte) []byte {
	for ; ; s.at++ {
		if s.at == len(s.chunks) {
			s.chunks = append(s.chunks, make([]byte, 0, max(slabChunk, len(p))))
		}
		if c := s.chunks[s.at]; cap(c)-len(c) >= len(p) {
			from := len(c)
			c = append(c, p...)
			s.chunks[s.at] = c
			return c[from:len(c):len(c)]
		}
	}
}

// unsafeText is p as a string for as long as p is not changed.
func unsafeText(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// kvKey returns a key in guest memory; nil when it is not one.
func kvKey(mem []byte, addr, length uint64) []byte {
	if n := uint32(length); n == 0 || n > sdk.KVKeyBytesMax {
		return nil
	}
	return at(mem, addr, length)
}

// kvBegin readies the kv for an operation on a key, or answers why it is not.
func (i *Instance) kvBegin(stack []uint64, ops int) bool {
	if i.kv == nil || i.rowsEnd == 0 {
		reply(stack, sdk.CapNoBatch)
		return false
	}
	i.kvFail(i.kv.count(ops))
	return true
}

// kvFail ends the call with a fault of the host's.
func (i *Instance) kvFail(err error) {
	if err != nil {
		i.ctx.end(err)
	}
}

// kvGet answers (key, key length, buffer, buffer length) with the value's length.
func kvGet(i *Instance, mem []byte, stack []uint64) {
	key := kvKey(mem, stack[0], stack[1])
	if key == nil {
		reply(stack, sdk.CapInvalid)
		return
	}
	if !i.kvBegin(stack, 1) {
		return
	}
	value, ok, err := i.kv.get(key)
	i.kvFail(err)
	i.ctx.pay(len(key) + kvReadCost)
	if !ok {
		reply(stack, sdk.CapNotFound)
		return
	}
	i.give(mem, stack, value, stack[2], stack[3])
}

// kvReadCost and kvWriteCost are bytes that an operation costs beside its own:
// looking a key up takes the host a microsecond or two.
const (
	kvReadCost  = 16 << 10
	kvWriteCost = 32 << 10
	kvMergeCost = 2 << 10 // of a scan, for each key that the batch wrote: they are sorted
)

// kvScanBytesMax bounds what one scan gives, and so how long the host is at it:
// nobody looks meanwhile whether the guest may go on. It holds the largest entry.
const kvScanBytesMax = 1 << 20

// kvPut answers (row, key, key length, value, value length).
func kvPut(i *Instance, mem []byte, stack []uint64) {
	value := at(mem, stack[3], stack[4])
	if uint32(stack[4]) > sdk.KVValueBytesMax {
		reply(stack, sdk.CapTooLarge)
		return
	}
	i.kvWrite(mem, stack, value, value != nil, false)
}

// kvDelete answers (row, key, key length).
func kvDelete(i *Instance, mem []byte, stack []uint64) { i.kvWrite(mem, stack, nil, true, true) }

func (i *Instance) kvWrite(mem []byte, stack []uint64, value []byte, ok, gone bool) {
	key := kvKey(mem, stack[1], stack[2])
	row := int(uint32(stack[0]))
	if key == nil || !ok {
		reply(stack, sdk.CapInvalid)
		return
	}
	if !i.kvBegin(stack, 1) {
		return
	}
	if row < i.rowsFrom || row >= i.rowsEnd {
		reply(stack, sdk.CapInvalid)
		return
	}
	i.rowsFrom = row // a write belongs to a row, and rows are done in order
	i.kvFail(i.kv.write(row, key, value, gone))
	i.ctx.pay(len(key) + len(value) + kvWriteCost)
	reply(stack, 0)
}

// kvUndo answers (row): what was written for the row does not count, since the
// connector refuses it.
func kvUndo(i *Instance, _ []byte, stack []uint64) {
	if !i.kvBegin(stack, 0) {
		return
	}
	if row := int(uint32(stack[0])); row >= i.rowsFrom && row < i.rowsEnd {
		i.kv.keepRows(i.kvMark, row)
	}
	reply(stack, 0)
}

// kvScan answers (prefix, prefix length, after, after length, buffer, buffer
// length) with entries << 32 | bytes of the buffer filled; with 0 entries and
// the bytes wanted where not even the first fits.
func kvScan(i *Instance, mem []byte, stack []uint64) {
	prefix, after := at(mem, stack[0], stack[1]), at(mem, stack[2], stack[3])
	to := at(mem, stack[4], stack[5])
	if prefix == nil || after == nil || to == nil || len(prefix) > sdk.KVKeyBytesMax || len(after) > sdk.KVKeyBytesMax {
		stack[0] = codeOf64(sdk.CapInvalid)
		return
	}
	if i.kv == nil || i.rowsEnd == 0 {
		stack[0] = codeOf64(sdk.CapNoBatch)
		return
	}
	prefix, after = bytes.Clone(prefix), bytes.Clone(after) // the buffer may overlap them
	to = to[:min(len(to), kvScanBytesMax)]
	entries, used, wanted := 0, 0, 0
	i.ctx.pay(kvReadCost + kvMergeCost*len(i.kv.latest))
	i.kvFail(i.kv.scan(prefix, after, func(key, value []byte) bool {
		n := 8 + len(key) + len(value)
		if used+n > len(to) {
			wanted = n
			return false
		}
		p := to[used:]
		binary.LittleEndian.PutUint32(p, uint32(len(key)))
		binary.LittleEndian.PutUint32(p[4:], uint32(len(value)))
		copy(p[8+copy(p[8:], key):], value)
		used += n
		entries++
		return entries < sdk.KVScanMax
	}))
	i.kvFail(i.kv.count(1 + entries))
	i.ctx.pay(used)
	if entries == 0 {
		used = wanted
	}
	stack[0] = uint64(entries)<<32 | uint64(used)
}

func codeOf64(code int) uint64 { return uint64(int64(code)) }
