package wasm

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"

	"github.com/cdcd-io/cdcd/sdk"
)

// surroundings is what an instance sees through its capabilities, beside its
// clock and its log.
type surroundings struct {
	pcg    *rand.PCG
	random *rand.Rand
	seed   [2]uint64
	place  []byte // of the batch in hand

	kv       *overlay // nil without
	kvMark   mark     // where it stood before the call in hand
	rowsFrom int      // rows of the call in hand that may still be written for
	rowsEnd  int      // 0 outside cdcd_transform

	large [][]byte // values of the batch in hand that lie beside it

	changes changes // of its metrics, in the batch in hand
}

// surround makes the surroundings of a new instance.
func (i *Instance) surround() {
	c := &i.config
	sum := sha256.Sum256([]byte(c.Pipeline + "\x00" + c.Step))
	i.seed = [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
	i.pcg = rand.NewPCG(i.seed[0], i.seed[1])
	i.random = rand.New(i.pcg)
	if i.kv = c.overlay; i.kv == nil {
		i.kv = newOverlay(c.path(), c.KV, c.KVBytesMax)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
}

// beginBatch returns what dropBatch takes the surroundings back to.
func (i *Instance) beginBatch() mark {
	if i.config.overlay == nil {
		i.kv.reset() // an instance without a Step: the batch is one call
	}
	return i.kv.mark()
}

// dropBatch forgets what a batch that came to nothing has changed.
func (i *Instance) dropBatch(m mark) {
	i.rowsEnd = 0
	i.kv.takeBack(m)
	i.changes.drop()
}

// seedFrom makes randomness that of the batch: the same for the same rows of
// the same step, whenever they are run, and another one for others. It hangs on
// where the first row lies in the log, because a counter of batches would begin
// anew with each start, and give rows of today what rows of yesterday had.
func (i *Instance) seedFrom(b *sdk.Batch) {
	row := b.Row(0)
	i.place = append(i.place[:0], row.Tx().ID()...)
	i.place = binary.LittleEndian.AppendUint64(i.place, row.Ordinal())
	sum := sha256.Sum256(i.place)
	i.pcg.Seed(i.seed[0]^binary.LittleEndian.Uint64(sum[:]), i.seed[1]^binary.LittleEndian.Uint64(sum[8:]))
}

// randomPiece is how many random bytes are made between two looks at whether the
// guest may go on: some 30 µs.
const randomPiece = 64 << 10

// fillRandom fills p.
func (i *Instance) fillRandom(p []byte) {
	for len(p) > 0 {
		piece := p[:min(len(p), randomPiece)]
		p = p[len(piece):]
		i.ctx.pay(len(piece))
		for len(piece) > 0 {
			var word [8]byte
			binary.LittleEndian.PutUint64(word[:], i.random.Uint64())
			piece = piece[copy(piece, word[:]):]
		}
	}
}
