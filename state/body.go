package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// The row of a dead letter may be megabytes. It lies apart from what is to be known
// of the letter, in pieces: so a look at a hundred thousand letters reads none of
// their rows, and a damaged block is not one of megabytes (see pieceBytes).
//
// A body is written once and belongs to one record: the letter, or, once that was
// replaced or replayed, the entry that takes this back. It goes with its owner.

// body says where a dead letter's row is.
type body struct {
	id    uint64 // 0 for none
	bytes int
	sum   uint32 // CRC-32C of the whole
}

// errBody is wrapped by what is wrong with a body.
var errBody = errors.New("its row is not what was written")

func sumBody(sum uint32, p []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
}

func (x body) pieces() uint64 { return (uint64(x.bytes) + pieceBytes - 1) / pieceBytes }

func appendBody(dst []byte, x body) []byte {
	dst = binary.AppendUvarint(dst, x.id)
	dst = binary.AppendUvarint(dst, uint64(x.bytes))
	return binary.AppendUvarint(dst, uint64(x.sum))
}

func (f *fields) body() body {
	id, size, sum := f.uint(), f.uint(), f.uint()
	if id == 0 || size == 0 || size > math.MaxInt32*pieceBytes || sum > math.MaxUint32 {
		f.bad = true
		return body{}
	}
	return body{id, int(size), uint32(sum)}
}

// loadBodies finds out the highest number that a body has.
func (p *Pipeline) loadBodies() error {
	prefix := bodiesKey(p.name)
	err := p.s.back(prefix, func(key, _ []byte) error {
		id, _, err := cutBodyPiece(key[len(prefix):])
		if err != nil {
			return p.s.corrupt(err)
		}
		p.bodies = id
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// stageBody adds a row to the write.
func (p *Pipeline) stageBody(b *pebble.Batch, row []byte) (body, error) {
	p.bodies++
	x := body{p.bodies, len(row), sumBody(0, row)}
	for n, piece := range pieces(row) {
		if err := b.Set(bodyPieceKey(p.name, x.id, n), piece, nil); err != nil {
			return x, p.s.writeFailed(err)
		}
	}
	return x, nil
}

// pieces gives the values that something large is kept in.
func pieces(all []byte) iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		for n := uint32(0); len(all) > 0; n++ {
			piece := all[:min(len(all), pieceBytes)]
			if !yield(n, append([]byte{valueVersion}, piece...)) {
				return
			}
			all = all[len(piece):]
		}
	}
}

// deleteBodies takes rows away with the write.
func (p *Pipeline) deleteBodies(b *pebble.Batch, bodies ...body) error {
	for _, x := range bodies {
		for n := range x.pieces() {
			if err := b.Delete(bodyPieceKey(p.name, x.id, uint32(n)), nil); err != nil {
				return p.s.writeFailed(err)
			}
		}
	}
	return nil
}

// readBody reads a row. The error is the store's, or says which piece is missing or
// that the whole is not what was written.
func (s *Store) readBody(r pebble.Reader, pipeline string, x body) (row []byte, err error) {
	for n := range x.pieces() {
		piece, ok, err := s.read(r, bodyPieceKey(pipeline, x.id, uint32(n)))
		if err != nil {
			return nil, err
		}
		if !ok || len(piece) == 0 || piece[0] != valueVersion {
			return nil, fmt.Errorf("%w: piece %d of %d is missing", errBody, n+1, x.pieces())
		}
		row = append(row, piece[1:]...)
	}
	if len(row) != x.bytes || sumBody(0, row) != x.sum {
		return nil, fmt.Errorf("%w: %d bytes with another sum, were %d", errBody, len(row), x.bytes)
	}
	return row, nil
}

// owned returns the bodies that go with a record: of letters as they were before.
func (r *record) owned() (bodies []body, err error) {
	for i := range r.entries {
		e := &r.entries[i]
		if _, ok := e.letter(); !ok || !e.had {
			continue
		}
		d, err := cutLetter(e.prior)
		if err != nil {
			return nil, err
		}
		if d.body.id != 0 {
			bodies = append(bodies, d.body)
		}
	}
	return bodies, nil
}

// sizeOf is what bodies take.
func sizeOf(bodies []body) (n int64) {
	for _, x := range bodies {
		n += int64(x.bytes)
	}
	return n
}
