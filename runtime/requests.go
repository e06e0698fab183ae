package runtime

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cdcd-io/cdcd/cdc"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/telemetry"
	"github.com/cdcd-io/cdcd/state"
)

const (
	// requestsPendingMax is how many requests may wait, rest or run: each is in
	// every position.
	requestsPendingMax = 16
	requestsOverMax    = 100     // that are over and kept, to be looked at
	requestBytesMax    = 4 << 10 // of one
)

// requests is the ledger of one pipeline's requests for copies of tables. It
// implements cdc.SnapshotLedger.
type requests struct {
	pipeline string
	kept     *state.Requests
	now      func() time.Time

	mu      sync.Mutex
	all     []*request // by their numbers
	changed chan struct{}
}

// request is one of them, as the state has it.
type request struct {
	id        uint64
	Tables    []cdc.TableName     `json:"tables"`
	Where     string              `json:"where,omitempty"`
	Columns   []string            `json:"columns,omitempty"`
	Estimates []uint64            `json:"estimates,omitempty"` // of rows, by the tables
	Asked     time.Time           `json:"asked"`
	Adopted   bool                `json:"adopted,omitempty"`
	Paused    bool                `json:"paused,omitempty"`
	Cancelled bool                `json:"cancelled,omitempty"` // wanted; Over says when it is
	Over      string              `json:"over,omitempty"`      // its last state; empty while it is pending
	Ended     time.Time           `json:"ended,omitzero"`
	Copied    []cdc.SnapshotTable `json:"copied,omitempty"` // how far it came
	Code      string              `json:"code,omitempty"`
	Reason    string              `json:"reason,omitempty"`
	Hint      string              `json:"hint,omitempty"`
}

// openRequests reads the ledger.
func openRequests(s *state.Store, pipeline string, now func() time.Time) (*requests, error) {
	p, err := s.Pipeline(pipeline)
	if err != nil {
		return nil, err
	}
	q := &requests{pipeline: pipeline, kept: p.Requests(), now: now, changed: make(chan struct{})}
	return q, q.kept.Each(func(id uint64, record []byte) error {
		r := &request{id: id}
		if err := json.Unmarshal(record, r); err != nil {
			return fault.New(fault.Fatal, state.CodeCorrupt, pipeline, "restore the state from a copy, or remove it", "request %d: %w", id, err)
		}
		q.all = append(q.all, r)
		return nil
	})
}

// put makes a request durable as it is to be, in place of the one with its
// number, then known. Those that are over for the longest make room. The caller
// holds mu.
func (q *requests) put(r request) error {
	text, err := json.Marshal(&r)
	if err != nil {
		return fmt.Errorf("a request of texts and numbers did not encode: %w", err)
	}
	all := slices.DeleteFunc(slices.Clone(q.all), func(o *request) bool { return o.id == r.id })
	i, _ := slices.BinarySearchFunc(all, r.id, func(o *request, id uint64) int {
		if o.id < id {
			return -1
		}
		return 1
	})
	all = slices.Insert(all, i, &r)
	remove := tooMany(all, &r)
	if err := q.kept.Put(r.id, text, remove...); err != nil {
		return err
	}
	q.all = slices.DeleteFunc(all, func(o *request) bool { return slices.Contains(remove, o.id) })
	close(q.changed)
	q.changed = make(chan struct{})
	return nil
}

// tooMany returns the numbers of those that are over and not kept any more: those
// that ended first, and never the one that has just changed. Its end may not be told
// yet, and the next start would take it for one that nobody has ended.
func tooMany(all []*request, changed *request) (remove []uint64) {
	over := slices.DeleteFunc(slices.Clone(all), func(o *request) bool { return o.Over == "" || o.id == changed.id })
	slices.SortStableFunc(over, func(a, b *request) int { return a.Ended.Compare(b.Ended) })
	kept := requestsOverMax
	if changed.Over != "" {
		kept--
	}
	for _, o := range over[:max(0, len(over)-kept)] {
		remove = append(remove, o.id)
	}
	return remove
}

// get returns a request. The caller holds mu.
func (q *requests) get(id uint64) *request {
	for _, r := range q.all {
		if r.id == id {
			return r
		}
	}
	return nil
}

// Pending implements cdc.SnapshotLedger.
func (q *requests) Pending() (list []cdc.SnapshotRequest, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.all {
		if r.Over == "" && (r.id > 0 || r.Paused) {
			list = append(list, cdc.SnapshotRequest{ID: r.id, Tables: r.Tables, Where: r.Where, Columns: r.Columns, Paused: r.Paused, Cancelled: r.Cancelled})
		}
	}
	return list, q.changed
}

// Found implements cdc.SnapshotLedger.
func (q *requests) Found(r cdc.SnapshotRequest) (over *cdc.SnapshotEnd, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.get(r.ID)
	switch {
	case known == nil:
		return nil, q.put(request{id: r.ID, Tables: r.Tables, Where: r.Where, Columns: r.Columns, Paused: r.Paused, Asked: q.now().UTC(), Adopted: true})
	case known.Over == telemetry.SnapshotDone: // the sink has lost its tail
		again := *known
		again.Over, again.Ended, again.Copied = "", time.Time{}, nil
		return nil, q.put(again)
	case known.Over == telemetry.SnapshotFailed:
		return &cdc.SnapshotEnd{Err: fault.New(fault.Config, known.Code, requestID(r.ID), known.Hint, "%s", known.Reason)}, nil
	case known.Over == telemetry.SnapshotCancelled:
		return &cdc.SnapshotEnd{Cancelled: true}, nil
	}
	return nil, nil
}

// Undone implements cdc.SnapshotLedger.
func (q *requests) Undone(past uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range slices.Clone(q.all) {
		if r.id <= past || r.Over != telemetry.SnapshotDone {
			continue
		}
		again := *r
		again.Over, again.Ended, again.Copied = "", time.Time{}, nil
		if err := q.put(again); err != nil {
			return err
		}
	}
	return nil
}

// End implements cdc.SnapshotLedger.
func (q *requests) End(id uint64, e cdc.SnapshotEnd) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.get(id)
	if known == nil || known.Over != "" {
		return nil
	}
	r := *known
	r.Over, r.Ended, r.Copied = telemetry.SnapshotDone, q.now().UTC(), e.Tables
	switch {
	case e.Err != nil:
		f := fault.Of(e.Err)
		r.Over, r.Code, r.Reason, r.Hint = telemetry.SnapshotFailed, f.Code, f.Error(), f.Hint
	case e.Cancelled:
		r.Over, r.Cancelled = telemetry.SnapshotCancelled, true
	}
	return q.put(r)
}

// free checks that there is room for a request, and that nobody else is about to
// copy its tables. The caller holds mu.
func (q *requests) free(r *request) error {
	pending := 0
	for _, o := range q.all {
		if o.Over != "" || o.id == 0 {
			continue
		}
		pending++
		for _, t := range o.Tables {
			if slices.Contains(r.Tables, t) {
				return fault.New(fault.Config, CodeSnapshotRunning, t.String(),
					fmt.Sprintf("wait until it is done (cdcd snapshot status), or end it: cdcd snapshot cancel CONFIG %s", requestID(o.id)),
					"the snapshot %s is about to copy the table already", requestID(o.id))
			}
		}
	}
	if pending >= requestsPendingMax {
		return fault.New(fault.Config, CodeSnapshotsFull, q.pipeline, "wait until one is done, or cancel one: cdcd snapshot status lists them",
			"%d snapshots wait or run, which is the limit", pending)
	}
	return nil
}

// add makes a request durable, with a number above all of before and above past.
func (q *requests) add(r request, past uint64) (uint64, error) {
	text, err := json.Marshal(&r)
	if err != nil {
		return 0, fmt.Errorf("a request of texts and numbers did not encode: %w", err)
	}
	if len(text) > requestBytesMax {
		return 0, fault.New(fault.Config, CodeSnapshotLarge, q.pipeline, "ask for fewer tables at a time, or shorten the predicate",
			"the request has %d bytes, of at most %d: it travels with each message", len(text), requestBytesMax)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.free(&r); err != nil {
		return 0, err
	}
	r.Asked = q.now().UTC()
	r.id = max(uint64(max(0, r.Asked.UnixMilli())), past+1)
	if n := len(q.all); n > 0 {
		r.id = max(r.id, q.all[n-1].id+1)
	}
	return r.id, q.put(r)
}

// wish is what a person wants of a request.
type wish byte

const (
	toPause wish = iota
	toResume
	toCancel
)

// want changes what is wanted of a request that is not over, or, with the number
// 0, of the copy that the configuration asks for: of that only is on record whether
// it is to rest.
func (q *requests) want(id uint64, w wish) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.get(id)
	if known == nil && id == 0 {
		known = &request{Asked: q.now().UTC()}
	}
	if known == nil {
		return noSnapshot(requestID(id))
	}
	r := *known
	switch over := known.Over != "" || known.Cancelled; {
	case w == toCancel && stateOf(known) != telemetry.SnapshotDone && stateOf(known) != telemetry.SnapshotFailed && over:
		return nil // it is so already
	case over:
		return fault.New(fault.Config, CodeSnapshotOver, requestID(id), "ask for the tables anew: cdcd snapshot start",
			"the snapshot %s is over: it is %s", requestID(id), stateOf(known))
	case w == toCancel:
		r.Cancelled = true
	case known.Paused == (w == toPause):
		return nil
	default:
		r.Paused = w == toPause
	}
	return q.put(r)
}

// stateOf is the state of a request that is over, or is to be.
func stateOf(r *request) string {
	if r.Over == "" {
		return telemetry.SnapshotCancelling
	}
	return r.Over
}

// list returns copies of all requests, and apart from them what is on record of the
// copy that the configuration asks for.
func (q *requests) list() (initial request, all []request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.all {
		if r.id == 0 {
			initial = *r
		} else {
			all = append(all, *r)
		}
	}
	return initial, all
}
