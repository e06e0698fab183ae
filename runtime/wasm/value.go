package wasm

import "github.com/cdcd-io/cdcd/sdk"

// valueRead answers (index, offset, address, length) with how many bytes of a
// large value, from the offset on, it has put there: fewer at the value's end.
func valueRead(i *Instance, mem []byte, stack []uint64) {
	index, offset := uint32(stack[0]), uint32(stack[1])
	p := at(mem, stack[2], stack[3])
	switch {
	case i.rowsEnd == 0:
		reply(stack, sdk.CapNoBatch)
	case p == nil:
		reply(stack, sdk.CapInvalid)
	case index >= uint32(len(i.large)):
		reply(stack, sdk.CapNotFound)
	default:
		value := i.large[index]
		value = value[min(int64(offset), int64(len(value))):]
		n := 0
		for n < min(len(p), len(value)) {
			done := copy(p[n:min(n+valuePiece, len(p))], value[n:])
			i.ctx.pay(done)
			n += done
		}
		reply(stack, n)
	}
}

// valuePiece is how many bytes are copied between two looks at whether the guest
// may go on.
const valuePiece = 1 << 20
