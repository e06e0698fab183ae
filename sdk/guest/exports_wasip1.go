package guest

import (
	"errors"

	"github.com/cdcd-io/cdcd/sdk"
)

// The exports of cdcd-abi-1. The buffers whose addresses they return are
// reachable from registered, and Go's collector doesn't move objects, so the
// addresses hold until the buffer is replaced.

//go:wasmexport cdcd_abi_1
func exportABI() {}

//go:wasmexport cdcd_buf
func exportBuf(kind, size uint32) uint32 { return address(registered.Buf(kind, int(size))) }

//go:wasmexport cdcd_init
func exportInit(n uint32) int64 {
	if registered.connector == nil {
		return fail(&sdk.Error{Code: sdk.CodeInternal, Message: "the module has no `var _ = guest.Register(...)`"})
	}
	return fail(registered.Init(int(n)))
}

//go:wasmexport cdcd_schema
func exportSchema(n uint32) int64 {
	p, err := registered.Schema(int(n))
	if err != nil {
		return fail(err)
	}
	return sdk.Pack(address(p), uint32(len(p)))
}

//go:wasmexport cdcd_transform
func exportTransform(n uint32) int64 {
	if _, err := registered.Transform(int(n)); err != nil {
		return fail(err)
	}
	return sdk.Pack(address(registered.result[:]), sdk.ResultSize)
}

//go:wasmexport cdcd_error
func exportError() int64 {
	p := registered.failure
	return sdk.Pack(address(p), uint32(len(p)))
}

// fail keeps the error's text for cdcd_error and returns its code; 0 for none.
func fail(err error) int64 {
	if err == nil {
		return 0
	}
	code, text := sdk.CodeInternal, err.Error()
	if e, ok := errors.AsType[*sdk.Error](err); ok && e.Code < 0 {
		code = e.Code
	}
	registered.failure = append(registered.failure[:0], text[:min(len(text), sdk.ErrorBytesMax)]...)
	return int64(code)
}
