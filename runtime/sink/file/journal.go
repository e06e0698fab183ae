package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cdcd-io/cdcd/runtime/sink"
)

// The journal has two slots, written in turn: a torn write leaves the other. It
// never grows, and rewriting blocks that are there takes no room on a full disk.
const (
	slotBytes  = 1 << 20
	headFormat = "cdcd-file-journal-1 %08x %08x\n" // length and checksum of the text behind it
	headBytes  = len("cdcd-file-journal-1 ") + 8 + 1 + 8 + 1
)

// castagnoli is the checksum's polynomial, the one that processors have built in.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// record is what the journal says: how far delivery has come, and what of the
// files is confirmed.
type record struct {
	Number   uint64 `json:"number"` // of the record: the higher one counts
	Pipeline string `json:"pipeline"`
	Created  int64  `json:"created"`           // when the first file was, in unix nanoseconds: names the files as a whole
	Epoch    uint64 `json:"epoch"`             // of the claim that wrote it
	Group    uint64 `json:"group"`             // groups with messages that were delivered so far
	Messages uint64 `json:"messages"`          // but for those of replays
	Replays  uint64 `json:"replays,omitempty"` // number of the last one

	Base        string `json:"base"`  // the position before the last message's transaction
	Place       string `json:"place"` // of the last message; empty where Base is exact
	Complete    bool   `json:"complete"`
	Fingerprint string `json:"fingerprint"`

	File   uint64 `json:"file"`   // number of the open file, from 1
	First  uint64 `json:"first"`  // number of the first message in it, from 1
	Opened int64  `json:"opened"` // when its first line was confirmed, in unix milliseconds; 0 without one
	Length int64  `json:"length"` // bytes of it that are confirmed
	Tail   tail   `json:"tail"`

	Closing *closing `json:"closing,omitempty"`
}

// tail is the checksum of the file's end, from a byte on.
type tail struct {
	From int64  `json:"from"`
	Sum  uint32 `json:"sum"`
}

// closing is a file that is being closed: it has its new name, or will have.
type closing struct {
	Name   string `json:"name"`
	Length int64  `json:"length"`
	Tail   tail   `json:"tail"`
}

// at returns the place of the last message, empty where the base is exact.
func (r *record) at() (sink.Place, error) {
	if r.Place == "" {
		return sink.Place{}, nil
	}
	return sink.ParsePlace(r.Place)
}

func (r *record) setAt(p sink.Place) {
	if r.Place = ""; p.Tx != "" {
		r.Place = p.String()
	}
}

// token names the last group for a checkpoint: "file:created:epoch:group".
func (r *record) token() string { return fmt.Sprintf("file:%d:%d:%d", r.Created, r.Epoch, r.Group) }

type token struct {
	created int64
	epoch   uint64
	group   uint64
}

func parseToken(s string) (token, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 4 || parts[0] != "file" {
		return token{}, fmt.Errorf("checkpoint token %.100q is not file:created:epoch:group", s)
	}
	created, err := strconv.ParseInt(parts[1], 10, 64)
	epoch, err2 := strconv.ParseUint(parts[2], 10, 64)
	group, err3 := strconv.ParseUint(parts[3], 10, 64)
	if err := errors.Join(err, err2, err3); err != nil {
		return token{}, fmt.Errorf("checkpoint token %.100q: %w", s, err)
	}
	return token{created, epoch, group}, nil
}

// encode returns the record as it stands in a slot.
func (r *record) encode() ([]byte, error) {
	for _, s := range []string{r.Pipeline, r.Base, r.Place, r.Fingerprint} {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("%.100q is not text", s)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(text)+headBytes > slotBytes {
		return nil, fmt.Errorf("a position of %d bytes is more than the journal takes", len(r.Base))
	}
	return append(fmt.Appendf(nil, headFormat, len(text), crc32.Checksum(text, castagnoli())), text...), nil
}

// decodeSlot reads what encode gave from the beginning of a slot.
func decodeSlot(slot []byte) (*record, error) {
	if len(slot) < headBytes {
		return nil, errors.New("the slot is empty")
	}
	var length, sum uint32
	if _, err := fmt.Sscanf(string(slot[:headBytes]), headFormat, &length, &sum); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	if int64(length) > int64(len(slot)-headBytes) {
		return nil, errors.New("the record is cut off")
	}
	text := slot[headBytes : headBytes+int(length)]
	if crc32.Checksum(text, castagnoli()) != sum {
		return nil, errors.New("the checksum is another one")
	}
	r := &record{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, err
	}
	_, err := r.at()
	if r.Length < 0 || r.Tail.From < 0 || r.Tail.From > r.Length || r.File == 0 || r.Number == 0 {
		err = errors.New("its numbers contradict each other")
	}
	return r, err
}

// readJournal returns the newest record; nil for a journal that has none. An
// error says that the journal has bytes and no record.
func readJournal(h handle) (*record, error) {
	var newest *record
	var errs []error
	empty := true
	for i := range 2 {
		slot := make([]byte, slotBytes)
		n, err := h.ReadAt(slot, int64(i)*slotBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(bytes.Trim(slot[:n], "\x00")) == 0 {
			continue
		}
		empty = false
		r, err := decodeSlot(slot[:n])
		if err != nil {
			errs = append(errs, fmt.Errorf("slot %d: %w", i, err))
			continue
		}
		if newest == nil || r.Number > newest.Number {
			newest = r
		}
	}
	if newest == nil && !empty {
		return nil, errors.Join(errs...)
	}
	return newest, nil
}

// writeJournal writes the record into its slot, and syncs.
func writeJournal(h handle, r *record) error {
	text, err := r.encode()
	if err != nil {
		return err
	}
	if _, err := h.WriteAt(text, int64(r.Number%2)*slotBytes); err != nil {
		return err
	}
	return h.Sync()
}
