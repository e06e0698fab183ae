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
		n := copy(p, value[min(int64(offset), int64(len(value))):])
		i.ctx.pay(n)
		reply(stack, n)
	}
}
