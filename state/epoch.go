package state

import (
	"encoding/binary"
	"slices"
)

// epochsMax is how many claims are remembered: a sink that lost its tail ends
// with a message of an earlier one.
const epochsMax = 1024

// Claiming makes durable that the pipeline is about to claim its sink under the
// number: what is found there under it is the pipeline's own. restored says that
// what others wrote under lower ones will be as well: the state is an earlier copy,
// which is brought to where the sink stands before anything else is done.
func (p *Pipeline) Claiming(epoch uint64, restored bool) error {
	numbers, _, err := p.epochs()
	if err != nil {
		return err
	}
	b := p.s.db.NewBatch()
	for len(numbers) >= epochsMax && err == nil {
		err = b.Delete(epochKey(p.name, numbers[0]), nil)
		numbers = numbers[1:]
	}
	if err == nil {
		err = b.Set(epochKey(p.name, epoch), []byte{valueVersion, flag(restored)}, nil)
	}
	if err != nil {
		return p.s.writeFailed(err)
	}
	return p.s.commit(b)
}

// Wrote reports whether what was written under the number is the pipeline's own;
// any is false where it has never noted a number.
func (p *Pipeline) Wrote(epoch uint64) (own, any bool, err error) {
	numbers, below, err := p.epochs()
	return epoch < below || slices.Contains(numbers, epoch), len(numbers) > 0, err
}

// epochs returns the numbers that are remembered, the lowest first, and that below
// which all are the pipeline's own.
func (p *Pipeline) epochs() (numbers []uint64, below uint64, err error) {
	prefix := pipelineKey(p.name, kindEpoch)
	err = p.s.each(prefix, func(key, value []byte) error {
		if len(key) != len(prefix)+8 {
			return p.s.corrupt(errKey)
		}
		n := binary.BigEndian.Uint64(key[len(prefix):])
		if numbers = append(numbers, n); len(value) > 1 && value[1] == flag(true) {
			below = n
		}
		return nil
	})
	return numbers, below, err
}
